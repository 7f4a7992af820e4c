"""Samples for training: windows of a scene with their label and what is valid in them."""

from geoseg.chips.augment import flip_randomly, jitter_bands
from geoseg.chips.chip import Batch, Chip, stack
from geoseg.chips.sampling import (
    BandStatistics,
    GridChips,
    RandomChips,
    band_statistics,
    class_shares,
)
from geoseg.chips.source import ChipSource
from geoseg.chips.split import Split, split_scene, tiles_of

__all__ = [
    "BandStatistics",
    "Batch",
    "Chip",
    "ChipSource",
    "GridChips",
    "RandomChips",
    "Split",
    "band_statistics",
    "class_shares",
    "flip_randomly",
    "jitter_bands",
    "split_scene",
    "stack",
    "tiles_of",
]
