"""Land cover from the pivot: classifiers of years, and maps of several pixel sizes."""
