"""What lies in a folder, on a map in a browser: scenes, maps, outlines, through time."""
