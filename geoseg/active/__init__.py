"""Labels that help most: which to ask for, who said what, and what was learned of it."""
