"""Recipe: from a scene and outlines to a network, its map, and an inventory."""
