"""Which places hold something, how sure that is, and since when."""
