"""Surveys: outlines of one date, read from anywhere, mended, and laid on one another."""
