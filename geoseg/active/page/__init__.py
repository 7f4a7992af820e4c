"""The page to label on: a local server, its images and its files."""
