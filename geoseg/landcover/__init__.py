"""Land cover from the pivot: classifiers, maps at several pixel sizes, legends."""
