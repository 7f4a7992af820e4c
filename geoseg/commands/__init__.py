"""The verbs of `geoseg`: a module each, and their options. Nothing heavy is imported with them."""
