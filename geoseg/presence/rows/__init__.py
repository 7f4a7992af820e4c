"""Places of a global grid, each image of one a row of a few bytes instead of a file."""
