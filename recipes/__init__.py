"""The recipes that ship with geoseg: one folder each, found through entry points."""
