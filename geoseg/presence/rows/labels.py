"""Labels of a table laid on the places of a grid."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from geoseg.presence.packs import Problem

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from geoseg.presence.packs.labels import ChipLabel
    from geoseg.presence.rows.grid import PlaceGrid

__all__ = ["PlaceLabels", "labels_on_grid"]

_NOWHERE = "it is no chip_id of `geoseg presence score`; give that, or lon and lat."
_NO_ROW = "no row lies there; embed scenes that show it."
_DIGITS = 20  # of the largest number of a cell


class PlaceLabels(NamedTuple):
    """What is known of M positions."""

    keys: tuple[str, ...]  # M chip_ids
    lon: NDArray[np.float64]  # degrees (M,)
    lat: NDArray[np.float64]  # degrees (M,)
    present: NDArray[np.bool_]  # (M,)
    problems: tuple[Problem, ...]  # labels that lie nowhere

    def without_rows(self, found: NDArray[np.bool_]) -> list[Problem]:
        """Those (M,) that were not found among rows, as problems."""
        return [Problem(self.keys[n], _NO_ROW) for n in np.flatnonzero(~found).tolist()]


def labels_on_grid(labels: Mapping[str, ChipLabel], grid: PlaceGrid) -> PlaceLabels:
    """Where labels lie: at the position that one tells, else at the place that its chip_id names.

    Labels of which nobody knows what they hold are left out.

    Args:
        labels: by chip_id, as `read_labels` gives them.
        grid: of the places, whose cells are the chip_ids of what `geoseg presence score` wrote.
    """
    keys, lon, lat, present, problems = [], [], [], [], []
    for key, label in labels.items():
        if label.present is None:
            continue
        known = math.isfinite(label.lon) and math.isfinite(label.lat)
        at = (label.lon, label.lat) if known else _centre(key, grid)
        if at is None:
            problems.append(Problem(key, _NOWHERE))
            continue
        keys.append(key)
        lon.append(at[0])
        lat.append(at[1])
        present.append(label.present)
    return PlaceLabels(
        tuple(keys),
        np.array(lon, dtype=np.float64),
        np.array(lat, dtype=np.float64),
        np.array(present, dtype=bool),
        tuple(problems),
    )


def _centre(chip_id: str, grid: PlaceGrid) -> tuple[float, float] | None:
    """That of a cell; None where it is none of the grid."""
    # Other scripts have decimal digits too, and thousands of digits are no number to Python.
    digits = chip_id.isascii() and chip_id.isdecimal() and len(chip_id) <= _DIGITS
    if not (digits and int(chip_id) < 2**64):
        return None
    cell = np.array([int(chip_id)], dtype=np.uint64)
    lon, lat = grid.centres(cell)
    if (grid.cells_at(lon, lat) != cell).any():
        return None
    return float(lon[0]), float(lat[0])
