"""What a network says, as the prior of the physical back-end: it smooths what that leaves.

Mean: that of the network. Covariance: of how far looks that it was not shown lie from what it says
of them, by the likelihood of held-out looks (`likeliest_spread`), as for the climatology. The mean
has seen the looks that move it once more; those that are held out have not, so that the covariance
allows for that.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from geoseg.pivot.measurement.acquisition import in_order
from geoseg.pivot.measurement.rim import inside, middle_of, padded, require_overlap
from geoseg.pivot.measurement.variables import find_variable
from geoseg.pivot.physical import PhysicalSettings
from geoseg.pivot.physical.climatology import Series, series_of
from geoseg.pivot.physical.posterior import Known
from geoseg.pivot.physical.screening import screened_looks
from geoseg.pivot.physical.smoothing import smooth_looks
from geoseg.pivot.physical.spread import likeliest_spread, process_of, sd_by_class

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from odc.geo.geobox import GeoBox
    from torch import Tensor

    from geoseg.pivot.learned.pivot import LearnedPivot
    from geoseg.pivot.learned.posterior import LearnedPosterior
    from geoseg.pivot.measurement.acquisition import Acquisition
    from geoseg.pivot.measurement.looks import Look
    from geoseg.pivot.physical.spread import Spread

__all__ = ["PriorPosterior", "smooth_about"]

_EVERY = 4  # acquisitions, of which one is held out


@dataclass(frozen=True, slots=True, kw_only=True)
class PriorPosterior:
    """A physical posterior about what a network says."""

    learned: LearnedPosterior  # of the cells and their rim
    inner: tuple[slice, slice]  # without the rim
    known: Mapping[str, Known]

    @property
    def variables(self) -> tuple[str, ...]:
        """Names, in their order."""
        return tuple(self.known)

    def moment(self, variable: str, day: float) -> tuple[Tensor, Tensor]:
        """Mean and standard deviation (H, W) of a variable on a day since 1970."""
        mean, detail, region = self._parts(variable, day)
        return mean, (detail + region).sqrt()

    def predicted(self, look: Look, variable: str) -> tuple[Tensor, Tensor]:
        """What a look would measure (h, w), and its variance without the noise of the sensor."""
        mean, detail, region = self._parts(variable, look.day)
        return look.footprint.forward(mean), look.footprint.variance(detail, region)

    def _parts(self, variable: str, day: float) -> tuple[Tensor, Tensor, Tensor]:
        told, _ = self.learned.moment(variable, day)
        detail, region = self.known[variable].state_at(day)
        mean = told[self.inner] + detail.mean + region.mean
        return mean, detail.variance, region.variance


def smooth_about(
    pivot: LearnedPivot,
    acquisitions: Sequence[Acquisition],
    grid: GeoBox,
    settings: PhysicalSettings | None = None,
) -> PriorPosterior:
    """The physical back-end with what a network says as its prior.

    Args:
        pivot: trained without physical posteriors.
        acquisitions: in any order, warped to the reference system of the grid.
        grid: cells of the pivot, north up, in metres.
        settings: of the physical back-end; its classes do not count.

    Raises:
        SceneError: no acquisition, two of one name, or none that shows anything.
        GridError: as `build_posterior`.
    """
    settings = settings or PhysicalSettings()
    ordered = in_order(acquisitions)
    require_overlap(ordered, grid)
    ground = padded(grid, settings.halo_m)
    inner = inside(ground, grid)
    sample = middle_of(ground)
    hidden = {one.id for one in ordered[1::_EVERY]}
    learned = pivot.reading(ordered, ground)
    without = pivot.reading([one for one in ordered if one.id not in hidden], sample)
    looks, _ = screened_looks(ordered, settings.variables, ground)
    sampled, _ = screened_looks(ordered, settings.variables, sample)
    names = [one.id for one in ordered]
    known = {}
    for name, found in looks.items():
        if name not in learned.variables or name not in without.variables:
            continue
        spread = _spread(name, sampled.get(name, ()), hidden, without)
        process = process_of(spread, torch.zeros(learned.shape, dtype=torch.int64))
        chains = smooth_looks(found, _mean_of(learned, name), process)
        known[name] = Known.of(chains, found, names, inner)
    return PriorPosterior(learned=learned, inner=inner, known=known)


def _mean_of(learned: LearnedPosterior, variable: str) -> Callable[[float], Tensor]:
    return lambda day: learned.moment(variable, day)[0]


def _spread(
    variable: str, looks: Sequence[Look], hidden: set[str], without: LearnedPosterior
) -> Spread:
    """Of ground about what a network says that was not shown some looks of it."""
    kind = find_variable(variable).kind
    apart = [look for look in looks if look.acquisition in hidden]
    seen = [look for look in looks if look.acquisition not in hidden]
    told = {day: without.moment(variable, day)[0] for day in {look.day for look in looks}}
    days, values = series_of(apart, without.shape)
    expected = [told[float(day)].numpy() for day in days]
    beyond = Series(days, values - np.stack(expected)) if expected else Series(days, values)
    labels = np.zeros(without.shape, dtype=np.int64)
    sd = sd_by_class(beyond, labels, classes=1, kind=kind)
    classes = torch.zeros(without.shape, dtype=torch.int64)
    return likeliest_spread(seen, apart, told.__getitem__, classes, sd, kind)
