"""What an instrument measures of the ground: bands, point spread, pixels, noise; and its looks."""
