"""The pivot of a piece of ground: what is known of each variable, on any day that is asked for."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, NamedTuple, TypeVar

import numpy as np
import torch

from geoseg.errors import GridError, SceneError
from geoseg.pivot.measurement.looks import looks_of
from geoseg.pivot.physical.assimilate import Correlation, State, assimilate
from geoseg.pivot.physical.film import FILM_VARIABLE, film_look
from geoseg.pivot.physical.wander import REGION_M, Process
from geoseg.sensors import SensorKind

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from odc.geo.geobox import GeoBox
    from torch import Tensor

    from geoseg.pivot.measurement.acquisition import Acquisition
    from geoseg.pivot.measurement.looks import Look
    from geoseg.pivot.physical.chain import Chain
    from geoseg.pivot.physical.climatology import Climatology

__all__ = ["Estimate", "Known", "Posterior"]

_T = TypeVar("_T")

_FAR = 3.0  # standard deviations
LEAST_VALIDITY = 0.1  # below which a value is the climatology's


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """Variables V on days D over cells (H, W)."""

    days: tuple[float, ...]  # since 1970
    variables: tuple[str, ...]
    mean: Tensor  # (D, V, H, W), reflectance or dB
    sd: Tensor  # (D, V, H, W)
    validity: Tensor  # (D, V, H, W): 1 - variance / variance without any measurement
    age_days: Tensor  # (D, V, H, W) to the nearest measurement of the cell; infinite where none
    provenance: Tensor  # (D, V, H, W) its acquisition, an index of `Posterior.acquisitions`; or -1

    @property
    def climatology(self) -> Tensor:
        """Whether a value (D, V, H, W) is what is usual, and nothing measured it."""
        return self.validity < LEAST_VALIDITY


class Moment(NamedTuple):
    """One variable on one day, (H, W) each."""

    mean: Tensor
    detail_variance: Tensor
    region_variance: Tensor
    prior_variance: Tensor


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """What is known of one variable."""

    process: Process
    detail: Chain
    region: Chain
    shown: Tensor  # (K, H, W) what was measured of a cell at a knot, NaN where nothing
    sources: tuple[int, ...]  # (K,) index of the acquisition of a knot

    @classmethod
    def of(
        cls,
        chains: tuple[Chain, Chain],
        looks: Sequence[Look],
        names: Sequence[str],
        inner: tuple[slice, slice],
    ) -> Known:
        """Of smoothed ground, without its rim.

        Args:
            chains: of detail and region (H, W).
            looks: in order, that they were made of.
            names: of all acquisitions.
            inner: rows and columns without the rim.
        """
        detail, region = chains
        places = {day: k for k, day in enumerate(detail.days)}
        shown = torch.full_like(detail.mean, torch.nan)
        sources = [0] * len(places)
        for look in looks:
            cells = look.on_ground()
            shown[places[look.day]][torch.isfinite(cells)] = cells[torch.isfinite(cells)]
            sources[places[look.day]] = names.index(look.acquisition)
        whole = cls(
            process=Process(detail=detail.wander, region=region.wander, region_m=REGION_M),
            detail=detail,
            region=region,
            shown=shown,
            sources=tuple(sources),
        )
        return whole.cropped(inner)

    def cropped(self, part: tuple[slice, slice]) -> Known:
        """Of some rows and columns."""
        detail, region = self.detail.cropped(part), self.region.cropped(part)
        return replace(
            self,
            process=replace(self.process, detail=detail.wander, region=region.wander),
            detail=detail,
            region=region,
            shown=self.shown[:, part[0], part[1]].clone(),
        )

    def state_at(self, day: float) -> State:
        """Detail and region on a day."""
        return State(self.detail.at(day), self.region.at(day))


@dataclass(frozen=True, slots=True, kw_only=True)
class Posterior:
    """All variables of a piece of ground."""

    grid: GeoBox
    acquisitions: tuple[str, ...]  # ids
    climatology: Climatology
    classes: Tensor  # (H, W) of the climatology
    known: Mapping[str, Known]

    @property
    def variables(self) -> tuple[str, ...]:
        """Names, in their order."""
        return tuple(self.known)

    def at(self, days: Sequence[float]) -> Estimate:
        """On days since 1970, in any order.

        Raises:
            SceneError: no day, or a piece of ground of which nothing was measured.
        """
        if not days or not self.known:
            raise SceneError(
                "An estimate needs a day and a variable that was measured; name a day, or solve "
                "ground that acquisitions show."
            )
        moments = [[self.moment(name, day) for name in self.known] for day in days]
        mean = _stack(moments, lambda one: one.mean)
        variance = _stack(moments, lambda one: one.detail_variance + one.region_variance)
        prior = _stack(moments, lambda one: one.prior_variance)
        nearest = [[_nearest(known, day) for known in self.known.values()] for day in days]
        return Estimate(
            days=tuple(days),
            variables=self.variables,
            mean=mean,
            sd=variance.sqrt(),
            validity=(1 - variance / prior).clamp(0, 1),
            age_days=_stack(nearest, lambda one: one[0]),
            provenance=_stack(nearest, lambda one: one[1]),
        )

    def moment(self, variable: str, day: float) -> Moment:
        """One variable on a day."""
        known = self.known[variable]
        usual, doubt = self.climatology.at(variable, day, self.classes)
        detail, region = known.state_at(day)
        wander = known.process.variance
        # What measurements have left of the spread, they have left of an error of the climatology.
        left = (detail.variance + region.variance) / wander
        return Moment(
            usual + detail.mean + region.mean,
            detail.variance,
            region.variance + left**2 * doubt,
            wander + doubt,
        )

    def predicted(self, look: Look, variable: str) -> tuple[Tensor, Tensor]:
        """What a look would measure (h, w), and its variance without the noise of the sensor."""
        moment = self.moment(variable, look.day)
        variance = look.footprint.variance(moment.detail_variance, moment.region_variance)
        return look.footprint.forward(moment.mean), variance

    def cropped(self, part: tuple[slice, slice]) -> Posterior:
        """Of some rows and columns."""
        return replace(
            self,
            grid=self.grid[part],
            classes=self.classes[part],
            known={name: one.cropped(part) for name, one in self.known.items()},
        )

    def updated(self, acquisition: Acquisition) -> Posterior:
        """With one more acquisition, of any day, and without a new run.

        Processes and climatology stay as they are. A pixel that lies far from what is expected of
        it is a cloud or a change, which one acquisition does not tell apart: it is trusted no more
        than one of three standard deviations (after Huber 1964).

        Raises:
            SceneError: its name is taken.
            GridError: it shows nothing of the grid.
        """
        if acquisition.id in self.acquisitions:
            raise SceneError(f"Acquisition {acquisition.id!r} is in the pivot already.")
        looks = self.looks(acquisition)
        if not looks:
            raise GridError(
                f"Acquisition {acquisition.id!r} shows nothing of the pivot: all is cloud or lies "
                "beside it."
            )
        return self.with_looks(acquisition.id, looks)

    def with_looks(self, acquisition: str, looks: Mapping[str, Look]) -> Posterior:
        """With what one more acquisition says of variables, as of `looks`; see `updated`."""
        source = len(self.acquisitions)
        known = dict(self.known)
        for name, look in looks.items():
            known[name] = self._with(name, known[name], look, source)
        return replace(self, acquisitions=(*self.acquisitions, acquisition), known=known)

    def looks(self, acquisition: Acquisition) -> dict[str, Look]:
        """What an acquisition says of each variable of this ground; nothing of those not in it.

        Raises:
            GridError: reference systems that differ, or rotated grids.
        """
        looks = {name: looks_of(acquisition, name, self.grid) for name in self.known}
        if acquisition.sensor.kind is SensorKind.FILM and FILM_VARIABLE in self.known:
            moment = self.moment(FILM_VARIABLE, acquisition.day)
            variance = moment.detail_variance + moment.region_variance
            looks[FILM_VARIABLE] = film_look(acquisition, moment.mean, variance, self.grid)
        return {name: look for name, look in looks.items() if look is not None}

    def _doubted(self, look: Look, variable: str) -> Look:
        expected, variance = self.predicted(look, variable)
        spread = variance + look.variance + look.shared_sd**2
        beyond = ((look.measured - expected) ** 2 / spread / _FAR**2 - 1).clamp_min(0)
        inflated = look.variance + spread * beyond
        return replace(look, variance=torch.where(look.valid, inflated, torch.inf))

    def _with(self, variable: str, known: Known, look: Look, source: int) -> Known:
        look = self._doubted(look, variable)
        usual, _ = self.climatology.at(variable, look.day, self.classes)
        correlation = Correlation.of(
            (int(self.grid.shape.y), int(self.grid.shape.x)),
            step_m=look.footprint.step_m,
            width_m=known.process.region_m,
        )
        state = assimilate(known.state_at(look.day), look, usual, correlation)
        detail, knot = known.detail.with_knot(look.day)
        region, _ = known.region.with_knot(look.day)
        shown, sources = known.shown, known.sources
        cells = look.on_ground()
        if len(detail.days) > len(known.detail.days):
            shown = torch.cat([shown[:knot], cells[None], shown[knot:]])
            sources = (*sources[:knot], source, *sources[knot:])
        else:
            shown = shown.clone()
            shown[knot] = torch.where(torch.isfinite(cells), cells, shown[knot])
        return replace(
            known,
            detail=detail.corrected(knot, state.detail),
            region=region.corrected(knot, state.region),
            shown=shown,
            sources=sources,
        )


def _stack(rows: Sequence[Sequence[_T]], pick: Callable[[_T], Tensor]) -> Tensor:
    return torch.stack([torch.stack([pick(one) for one in row]) for row in rows])


def _nearest(known: Known, day: float) -> tuple[Tensor, Tensor]:
    """Days to the nearest measurement of each cell (H, W), and its acquisition."""
    age = torch.full(known.shown.shape[1:], torch.inf)
    source = torch.full(known.shown.shape[1:], -1, dtype=torch.int32)
    apart = np.abs(np.array(known.detail.days) - day)
    for knot in np.argsort(apart, kind="stable"):
        fresh = torch.isfinite(known.shown[knot]) & torch.isinf(age)
        age[fresh] = float(apart[knot])
        source[fresh] = known.sources[knot]
        if not torch.isinf(age).any():
            break
    return age, source
