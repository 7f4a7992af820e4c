"""Samples for training: windows of a scene with their label and what is valid in them."""

from geoseg.chips.augment import drop_bands, film_some, flip_randomly, jitter_bands
from geoseg.chips.chip import Batch, Chip, stack
from geoseg.chips.film import EFFECTS, Effect, RandomFilm, in_view, panchromatic, to_film
from geoseg.chips.folds import Folds, make_folds
from geoseg.chips.place import Place, PlaceBatch, drop_images, stack_places
from geoseg.chips.samples import Samples
from geoseg.chips.sampling import (
    BandStatistics,
    GridChips,
    MixedChips,
    RandomChips,
    band_statistics,
    class_pixels,
    part_to_learn,
)
from geoseg.chips.source import LEARN, UNLEARNED, UNSEEN, ChipSource, Ground
from geoseg.chips.split import HeldOut, Split, split_scene, tiles_of
from geoseg.chips.style import match_tones, swap_amplitude

__all__ = [
    "EFFECTS",
    "LEARN",
    "UNLEARNED",
    "UNSEEN",
    "BandStatistics",
    "Batch",
    "Chip",
    "ChipSource",
    "Effect",
    "Folds",
    "GridChips",
    "Ground",
    "HeldOut",
    "MixedChips",
    "Place",
    "PlaceBatch",
    "RandomChips",
    "RandomFilm",
    "Samples",
    "Split",
    "band_statistics",
    "class_pixels",
    "drop_bands",
    "drop_images",
    "film_some",
    "flip_randomly",
    "in_view",
    "jitter_bands",
    "make_folds",
    "match_tones",
    "panchromatic",
    "part_to_learn",
    "split_scene",
    "stack",
    "stack_places",
    "swap_amplitude",
    "tiles_of",
    "to_film",
]
