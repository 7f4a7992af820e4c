"""The pivot: variables of the ground that every sensor says something of, through time."""
