"""Thaw slumps: which image chips hold one, how sure that is, and since when."""
