"""How well areas are known: one standard deviation, in km2, of each cause.

Granshaw and Fountain (2006) and Paul et al. (2017) give the area of a buffer about the border, half
a pixel wide, as the uncertainty; Hall et al. (2003) a pixel. Such a buffer is how far off the area
may be when all of the border is off by that much to the same side, which happens: snow, shadow and
the habits of whoever, or whatever, draws shift a border as a whole. Here the border of an outline
is taken to be off by one unknown amount between the two extremes, each as likely: the standard
deviation is the buffer by the square root of 3, and 90 % intervals reach to 0.95 of the buffer.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from geoseg.inventory.attributes.borders import shared_sides
from geoseg.inventory.surveys.survey import kind_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    import geopandas as gpd
    from numpy.typing import ArrayLike, NDArray

__all__ = [
    "area_errors",
    "border_width_px",
    "combined_uncertainty_km2",
    "model_uncertainty_km2",
    "pixel_uncertainty_km2",
    "registration_uncertainty_km2",
]

_CLEAN_PX, _DEBRIS_PX, _FILM_PX = 0.5, 1.0, 1.0
# Encoders halve an image five times: what is told of it comes from cells of 32 pixels.
_ALIKE_PX = 32
_ENOUGH_PX = 1000  # of the truth
_FINE_KINDS = {"supraglacial_lake": "glacier"}  # a pond on ice counts as ice in an area


def border_width_px(debris_share: ArrayLike, *, film: bool) -> NDArray[np.float64]:
    """Pixels that the border of an outline may be off to either side.

    Half a pixel; one on film, and one under debris, of which the border is taken to have the same
    share as the area: NaN, where that is not known, counts as none.

    Args:
        debris_share: of the area, 0 to 1.
        film: whether the image was taken on film.
    """
    share = np.nan_to_num(np.asarray(debris_share, dtype=np.float64))
    if film:
        return np.full(share.shape, _FILM_PX)
    return _CLEAN_PX + (_DEBRIS_PX - _CLEAN_PX) * share


def pixel_uncertainty_km2(
    perimeter_m: ArrayLike, *, gsd_m: ArrayLike, width_px: ArrayLike
) -> NDArray[np.float64]:
    """Of a border that is off by one amount of at most `width_px` pixels to either side.

    Args:
        perimeter_m: length of the border, with that of the holes.
        gsd_m: of the image that the outline was drawn on.
        width_px: by `border_width_px`.
    """
    width_m = np.asarray(width_px, dtype=np.float64) * np.asarray(gsd_m)
    # What a buffer adds to a convex outline (Steiner): the corners count for what is small.
    buffer_m2 = np.asarray(perimeter_m, dtype=np.float64) * width_m + math.pi * width_m**2
    return np.asarray(buffer_m2 / math.sqrt(3) / 1e6, dtype=np.float64)


def registration_uncertainty_km2(
    outlines: gpd.GeoDataFrame, *, shift_unc_m: float
) -> NDArray[np.float64]:
    """Of a survey that lies shifted against the divides, which are taken from elsewhere.

    A shift moves an outline and leaves its area as it is: 0 for what has no divides. Where glaciers
    of a survey meet, their border is a divide and stays, while the ice shifts across it: what one
    gains another loses. The gain is the shift by the width of the divide across it, that is, by the
    distance between its ends.

    Args:
        outlines: glaciers of one survey, in a projected CRS in metres, with the same corners along
            the borders between them.
        shift_unc_m: standard deviation of the shift along either axis.
    """
    sides = shared_sides(outlines.geometry.to_numpy())
    ends = np.zeros((len(outlines), 2))
    np.add.at(ends, sides.first, sides.vector)
    np.subtract.at(ends, sides.second, sides.vector)
    return np.asarray(np.hypot(*ends.T) * shift_unc_m / 1e6, dtype=np.float64)


def model_uncertainty_km2(
    area_km2: ArrayLike,
    probability: ArrayLike,
    extent_m: ArrayLike,
    *,
    pixel_unc_km2: ArrayLike,
    gsd_m: ArrayLike,
) -> NDArray[np.float64]:
    """Of what a network is unsure of, beyond that a border is known to a pixel only.

    By its probabilities a share 1 - p of an outline is wrongly in it, and, as the border lies where
    in and out are as likely, as much is wrongly out. A border that lies off by a normal deviate of
    standard deviation s has s / sqrt(2 pi) of its length wrongly in, on average, which gives s. Of
    this spread half a pixel explains a part, counted already. The rest is alike within 32 pixels,
    so that an outline errs as a whole up to that length, and in independent pieces of that length
    beyond: both banks of a tongue err alike.

    Args:
        area_km2: of the outlines.
        probability: mean of the class over their area, 0 to 1, from a calibrated network.
        extent_m: half of the perimeter of the convex hull: of what is narrow, its length.
        pixel_unc_km2: by `pixel_uncertainty_km2`.
        gsd_m: of the map.

    Returns:
        NaN where the probability is.
    """
    wrong_km2 = np.asarray(area_km2) * (1 - np.asarray(probability, dtype=np.float64))
    spread_km2 = math.sqrt(2 * math.pi) * wrong_km2
    rest_km2 = np.sqrt(np.maximum(spread_km2**2 - np.asarray(pixel_unc_km2) ** 2, 0))
    pieces = np.asarray(extent_m, dtype=np.float64) / (_ALIKE_PX * np.asarray(gsd_m))
    return np.asarray(rest_km2 / np.sqrt(np.maximum(pieces, 1)), dtype=np.float64)


def area_errors(confusion: NDArray[np.int64], classes: Sequence[str]) -> dict[str, float]:
    """By how much the area of each kind was off where the truth was known, as a share of it.

    What a network gets wrong everywhere alike, its probabilities do not tell. A kind of which the
    truth holds too little to say anything is left out.

    Args:
        confusion: pixels (K, K), rows are the truth.
        classes: names of the classes.
    """
    kinds = np.array([_FINE_KINDS.get(name, kind_of(name)) for name in classes], dtype=object)
    errors = {}
    for kind in sorted(set(kinds[1:])):
        own = kinds == kind
        true, mapped = confusion[own].sum(), confusion[:, own].sum()
        if true >= _ENOUGH_PX:
            errors[str(kind)] = float(abs(mapped - true) / true)
    return errors


def combined_uncertainty_km2(
    pixel_km2: ArrayLike, registration_km2: ArrayLike, model_km2: ArrayLike
) -> NDArray[np.float64]:
    """Of independent causes together: the root of the sum of squares.

    NaN where that of the pixel is, without which nothing is known. A hand-drawn outline has no
    network, and one that was not registered no shift: NaN there counts as 0.
    """
    others = np.nan_to_num(np.asarray(registration_km2, dtype=np.float64)) ** 2
    others = others + np.nan_to_num(np.asarray(model_km2, dtype=np.float64)) ** 2
    return np.sqrt(np.asarray(pixel_km2, dtype=np.float64) ** 2 + others)
