"""Maps of several pixel sizes that agree: the fine one put together is the coarse one.

One field of shares and one map of classes lie on the finest cells; all others are put together from
these. For shares the way does not matter: those of any map put together are those of a coarser one
in whose cells its own lie. What leads in most parts of a cell need not lead in the cell, whatever
the rule (Openshaw 1984, The modifiable areal unit problem), so classes are always counted in the
finest map, and how well the maps between agree is measured, not forced: that would change classes.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING

import numpy as np

from geoseg.labels import IGNORE
from geoseg.landcover.shares import Shares, aggregate, millimetres, overlaps_mm, refine

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

__all__ = ["AgreeingMaps", "aggregate_labels", "agreeing_maps", "agreement"]


@dataclass(frozen=True, slots=True, kw_only=True)
class AgreeingMaps:
    """Maps of several pixel sizes, by their gsd in m, the finest first."""

    labels: Mapping[float, NDArray[np.uint8]]  # index of a class (H, W), 255: unknown
    shares: Mapping[float, Shares]


def agreeing_maps(shares: Shares, gsds_m: Sequence[float]) -> AgreeingMaps:
    """Maps of several pixel sizes from shares of one.

    The finest map, which may be finer than the shares or have their cells, shows the likeliest
    class; each coarser one the class that covers most of its cell in the finest.

    Areas are to be taken from shares: a class that is nowhere the likeliest has an area too.

    Args:
        shares: on the cells that were classified.
        gsds_m: finer and coarser ones.

    Raises:
        ConfigError: cells that the finest ones cannot be cut from.
    """
    sizes = sorted(set(gsds_m))
    field = refine(shares, min(shares.gsd_m, *sizes))
    labels = _likeliest(field)
    return AgreeingMaps(
        labels={gsd: aggregate_labels(labels, field.gsd_m, gsd) for gsd in sizes},
        shares={gsd: aggregate(field, gsd) for gsd in sizes},
    )


def aggregate_labels(labels: NDArray[np.uint8], gsd_m: float, to_gsd_m: float) -> NDArray[np.uint8]:
    """The class that covers most of each coarser cell; of those that cover as much, the first.

    A cell that lies in several coarser ones counts in each by area.

    Args:
        labels: (H, W), 255 where nothing is known, which counts as nothing.
        gsd_m: of their cells.
        to_gsd_m: of the coarser ones, which begin in the same top left corner.
    """
    fine, coarse = millimetres(gsd_m), millimetres(to_gsd_m)
    down, across = (overlaps_mm(n, fine, coarse) for n in labels.shape)
    classes = np.setdiff1d(labels, [IGNORE])
    if not len(classes):
        return np.full((down.shape[0], across.shape[0]), IGNORE, dtype=np.uint8)
    # Whole square millimetres: equal areas are equal, whatever they are summed from.
    areas = np.stack([down @ (labels == one).astype(np.int64) @ across.T for one in classes])
    return np.where(areas.any(axis=0), classes[areas.argmax(axis=0)], IGNORE).astype(np.uint8)


def agreement(labels: Mapping[float, NDArray[np.uint8]]) -> dict[tuple[float, float], float]:
    """Share of the cells of each map that a finer one, put together by area, shows alike.

    By pairs of gsd, the finer first, where cells of the finer each lie in one of the coarser, and
    of the finest with all: for maps of `agreeing_maps` that is 1.

    Args:
        labels: by gsd in m, of the same ground.
    """
    sizes = sorted(labels)
    found = {}
    for fine, coarse in combinations(sizes, 2):
        if fine == sizes[0] or millimetres(coarse) % millimetres(fine) == 0:
            together = aggregate_labels(labels[fine], fine, coarse)
            rows, columns = labels[coarse].shape
            found[fine, coarse] = float((together[:rows, :columns] == labels[coarse]).mean())
    return found


def _likeliest(field: Shares) -> NDArray[np.uint8]:
    known = field.area_m2 > 0
    best = np.where(known, field.share, 0.0).argmax(axis=0)
    return np.where(known, best, IGNORE).astype(np.uint8)
