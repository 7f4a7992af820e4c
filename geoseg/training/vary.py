"""What is changed in chips before a network learns from them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from geoseg.chips import drop_bands, film_some, flip_randomly, jitter_bands

if TYPE_CHECKING:
    from collections.abc import Sequence

    from geoseg.chips import Batch
    from geoseg.config import Recipe

__all__ = ["vary"]


def vary(batches: Sequence[Batch], recipe: Recipe) -> list[Batch]:
    """Batches as the recipe has them changed: film, missing bands, turns, gains and offsets."""
    changed = film_some(batches, share=recipe.film.share, cameras=recipe.film.cameras)
    if recipe.chips.band_dropout > 0:
        changed = [drop_bands(batch, share=recipe.chips.band_dropout) for batch in changed]
    if recipe.training.flips:
        changed = [flip_randomly(batch) for batch in changed]
    if recipe.training.jitter > 0:
        changed = [jitter_bands(batch, strength=recipe.training.jitter) for batch in changed]
    return changed
