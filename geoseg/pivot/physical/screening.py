"""Clouds and shadows that a mask has missed: what fits neither the days before nor those after.

The innovation of each cell against the last and the next day that show it, each in standard
deviations of how far the ground may have come since. Ground that changed stays changed, so that it
agrees with one side; a cloud agrees with neither.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from geoseg.pivot.measurement.looks import looks_by_variable
from geoseg.pivot.measurement.variables import load_variables
from geoseg.pivot.physical.climatology import series_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray
    from odc.geo.geobox import GeoBox

    from geoseg.pivot.measurement.acquisition import Acquisition
    from geoseg.pivot.measurement.looks import Look
    from geoseg.pivot.physical.climatology import Series

__all__ = ["SCREENED", "screened", "screened_looks", "strange_cells"]

SCREENED = ("blue", "red", "nir", "visible")  # in which a cloud or a shadow differs from ground

_LIMIT = 2.0  # standard deviations, on both sides at once
_NOISE = 0.02  # reflectance, of two measurements and their haze
_GROUND, _GROUND_DAYS = 0.10, 20.0  # by which ground comes to differ, and in how long
_OVERLAP = 0.3  # of a pixel


def strange_cells(series: Series) -> NDArray[np.bool_]:
    """Cells (T, H, W) that differ from both sides in one direction."""
    before = _innovations(series.days, series.values)
    after = _innovations(series.days[::-1], series.values[::-1])[::-1]
    least = np.minimum(np.abs(before), np.abs(after))
    return np.asarray((least > _LIMIT) & (np.sign(before) == np.sign(after)))


def screened(
    looks: Mapping[str, Sequence[Look]], series: Mapping[str, Series]
) -> dict[str, list[Look]]:
    """Looks of each variable without pixels that are strange in any of `SCREENED`."""
    strange: dict[str, NDArray[np.bool_]] = {}
    for name in SCREENED:
        if name not in looks or len(looks[name]) < 3:
            continue
        for look, cells in zip(looks[name], strange_cells(series[name]), strict=True):
            strange[look.acquisition] = strange.get(look.acquisition, False) | cells
    kept = {}
    for name, found in looks.items():
        clear = [_without(look, strange.get(look.acquisition)) for look in found]
        kept[name] = [look for look in clear if look.valid.any()]
    return kept


def _without(look: Look, cells: NDArray[np.bool_] | None) -> Look:
    if cells is None or not cells.any():
        return look
    overlap = look.footprint.forward(look.measured.new_tensor(cells))
    return look.without(overlap > _OVERLAP)


def _innovations(days: NDArray[np.float64], values: NDArray[np.float32]) -> NDArray[np.float32]:
    """Of cells (T, H, W) against the last day that shows them, in standard deviations."""
    found = np.full_like(values, np.nan)
    last, when = np.full_like(values[0], np.nan), np.full(values.shape[1:], np.nan)
    for t, day in enumerate(days):
        gone = np.abs(day - when)
        sd = np.sqrt(_NOISE**2 + _GROUND**2 * (1 - np.exp(-2 * gone / _GROUND_DAYS)))
        found[t] = (values[t] - last) / sd
        seen = np.isfinite(values[t])
        last, when = np.where(seen, values[t], last), np.where(seen, day, when)
    return found


def screened_looks(
    acquisitions: Sequence[Acquisition], variables: Sequence[str], ground: GeoBox
) -> tuple[dict[str, list[Look]], dict[str, Series]]:
    """Looks of each variable that is measured, without missed clouds, and their series.

    Args:
        acquisitions: in order.
        variables: wanted; all when there is none.
        ground: cells of the pivot.

    Raises:
        GridError: as `looks_of`.
    """
    shape = (int(ground.shape.y), int(ground.shape.x))
    looks = looks_by_variable(acquisitions, tuple(variables) or tuple(load_variables()), ground)
    found = {name: one for name, one in looks.items() if one}
    raw = {name: series_of(one, shape) for name, one in found.items()}
    clear = {name: one for name, one in screened(found, raw).items() if one}
    return clear, {name: series_of(one, shape) for name, one in clear.items()}
