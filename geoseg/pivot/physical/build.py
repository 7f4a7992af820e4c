"""The physical back-end: measurement operators inverted by a Kalman smoother.

Each variable is its climatology, detail of cells and what regions share. A filter takes the looks
of a block in the order of their days, each through its footprint; a smoother ties them into chains
that answer for any day.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from odc.geo.geobox import GeoBox

from geoseg.errors import SceneError
from geoseg.pivot.measurement.acquisition import in_order
from geoseg.pivot.measurement.rim import inside, middle_of, padded, require_overlap
from geoseg.pivot.measurement.variables import find_variable
from geoseg.pivot.physical.climatology import Climatology, Series, side_by_side
from geoseg.pivot.physical.film import FILM_VARIABLE, require_tie, with_film
from geoseg.pivot.physical.posterior import Known, Posterior
from geoseg.pivot.physical.screening import screened_looks
from geoseg.pivot.physical.smoothing import smooth_looks
from geoseg.pivot.physical.spread import Spread, held_out, likeliest_spread, process_of, sd_by_class
from geoseg.sensors import SensorKind

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from torch import Tensor

    from geoseg.pivot.measurement.acquisition import Acquisition
    from geoseg.pivot.measurement.looks import Look

__all__ = ["PhysicalSettings", "Usual", "build_posterior", "learn_usual"]


@dataclass(frozen=True, slots=True, kw_only=True)
class PhysicalSettings:
    """How the pivot is made."""

    variables: tuple[str, ...] = ()  # none: all that are measured
    classes: int = 8  # of cells with a like year
    halo_m: float = 90.0  # beyond a block that is solved with it
    seed: int = 0  # of the classes

    def __post_init__(self) -> None:
        if self.classes < 1 or self.halo_m < 0:
            raise SceneError(
                f"{self.classes} classes and a halo of {self.halo_m:g} m make no pivot; give 1 or "
                "more, and 0 m or more."
            )
        for name in self.variables:
            find_variable(name)


@dataclass(frozen=True, slots=True, kw_only=True)
class Usual:
    """What is learned once for all blocks: the climatology, and the spread about it."""

    climatology: Climatology
    spreads: Mapping[str, Spread]


def build_posterior(
    acquisitions: Sequence[Acquisition],
    grid: GeoBox,
    settings: PhysicalSettings | None = None,
    usual: Usual | None = None,
) -> Posterior:
    """The pivot on a grid, solved as one block.

    Args:
        acquisitions: in any order, warped to the reference system of the grid.
        grid: cells of the pivot, north up, in metres.
        settings: how.
        usual: climatology and spread of a larger piece, about which a block may show nothing, or
            only some of its variables; none: learned on this one.

    Raises:
        SceneError: no acquisition, two of one name, or none that shows anything.
        GridError: grids that do not overlap, or whose reference systems differ.
    """
    settings = settings or PhysicalSettings()
    ordered = in_order(acquisitions)
    ground = padded(grid, settings.halo_m)
    if usual is None or ordered:
        require_overlap(ordered, grid)
    looks, series = screened_looks(ordered, settings.variables, ground)
    if usual is None:
        _require_shown(ordered, looks, settings)
        usual = _usual_of(series, ordered, ground, settings)
    unseen = Series(np.empty(0), np.empty((0, *ground.shape), dtype=np.float32))
    classes = usual.climatology.classes_of(
        {name: series.get(name, unseen) for name in usual.climatology.variables}
    )
    looks = _with_film(looks, ordered, ground, usual, classes, settings)
    inner = inside(ground, grid)
    names = tuple(one.id for one in ordered)
    known = {}
    for name in looks:
        if name in usual.spreads:
            process = process_of(usual.spreads[name], classes)
            found = smooth_looks(looks[name], _usual_on(usual.climatology, name, classes), process)
            known[name] = Known.of(found, looks[name], names, inner)
    return Posterior(
        grid=grid,
        acquisitions=names,
        climatology=usual.climatology,
        classes=classes[inner],
        known=known,
    )


def learn_usual(
    pieces: Sequence[tuple[Sequence[Acquisition], GeoBox]],
    settings: PhysicalSettings | None = None,
) -> Usual:
    """Climatology and spread of pieces of ground, for blocks among them.

    The climatology is learned on all of them, the spread on the one that most was measured of.

    Args:
        pieces: acquisitions, and the grid that they show.
        settings: how.

    Raises:
        SceneError: no acquisition shows anything of any piece.
        GridError: as in `build_posterior`.
    """
    settings = settings or PhysicalSettings()
    seen: list[dict[str, Series]] = []
    samples: list[tuple[int, Sequence[Acquisition], GeoBox]] = []
    for acquisitions, grid in pieces:
        ordered: Sequence[Acquisition] = in_order(acquisitions)
        require_overlap(ordered, grid)
        try:
            _, series = _looks(ordered, grid, settings)
        except SceneError as error:
            nothing = error
            continue
        seen.append(series)
        shown = sum(int(np.isfinite(one.values).sum()) for one in series.values())
        samples.append((shown, ordered, grid))
    if not samples:
        raise nothing if pieces else SceneError("The pivot needs a piece of ground; give one.")
    _, ordered, grid = max(samples, key=lambda one: one[0])
    return _usual_of(side_by_side(seen), ordered, grid, settings)


def _looks(
    ordered: Sequence[Acquisition], ground: GeoBox, settings: PhysicalSettings
) -> tuple[dict[str, list[Look]], dict[str, Series]]:
    """Looks and series as of `screened_looks`, where there are any."""
    looks, series = screened_looks(ordered, settings.variables, ground)
    _require_shown(ordered, looks, settings)
    return looks, series


def _require_shown(
    ordered: Sequence[Acquisition],
    looks: Mapping[str, Sequence[Look]],
    settings: PhysicalSettings,
) -> None:
    if not settings.variables or FILM_VARIABLE in settings.variables:
        require_tie(ordered, looks)
    missing = [name for name in settings.variables if name not in looks]
    if missing or not looks:
        raise SceneError(
            f"No acquisition shows {', '.join(missing) or 'any variable'} on the pivot: all is "
            "cloud, lies beside it or is of other bands."
        )


def _usual_of(
    series: Mapping[str, Series],
    ordered: Sequence[Acquisition],
    ground: GeoBox,
    settings: PhysicalSettings,
) -> Usual:
    """Climatology of a series, and the spread on the middle of a ground of it."""
    climatology = Climatology.learn(series, classes=settings.classes, seed=settings.seed)
    classes = climatology.classes_of(series)
    looks, shown = _sampled(ordered, ground, settings)
    sampled = climatology.classes_of(shown)
    spreads = {}
    for name, (days, values) in series.items():
        kind = find_variable(name).kind
        expected = [climatology.at(name, day, classes)[0].numpy() for day in days]
        sd = sd_by_class(
            Series(days, values - np.stack(expected)),
            classes.numpy(),
            classes=len(climatology.centres),
            kind=kind,
        )
        usual = _usual_on(climatology, name, sampled)
        seen, hidden = held_out(looks.get(name, ()))
        spreads[name] = likeliest_spread(seen, hidden, usual, sampled, sd, kind)
    return Usual(climatology=climatology, spreads=spreads)


def _sampled(
    ordered: Sequence[Acquisition], ground: GeoBox, settings: PhysicalSettings
) -> tuple[dict[str, list[Look]], dict[str, Series]]:
    """Looks and series of the middle of a ground; of all of it where its middle shows nothing."""
    try:
        return _looks(ordered, middle_of(ground), settings)
    except SceneError:
        return _looks(ordered, ground, settings)


def _with_film(
    looks: dict[str, list[Look]],
    ordered: Sequence[Acquisition],
    ground: GeoBox,
    usual: Usual,
    classes: Tensor,
    settings: PhysicalSettings,
) -> dict[str, list[Look]]:
    """Looks with those of film, which are tied to the others and to what is usual."""
    frames = [one for one in ordered if one.sensor.kind is SensorKind.FILM]
    if not frames or (settings.variables and FILM_VARIABLE not in settings.variables):
        return looks
    require_tie(frames, usual.spreads)
    found = with_film(
        looks.get(FILM_VARIABLE, []),
        frames,
        ground,
        lambda day: usual.climatology.at(FILM_VARIABLE, day, classes),
        process_of(usual.spreads[FILM_VARIABLE], classes),
    )
    return {**looks, FILM_VARIABLE: found} if found else looks


def _usual_on(
    climatology: Climatology, variable: str, classes: Tensor
) -> Callable[[float], Tensor]:
    return lambda day: climatology.at(variable, day, classes)[0]
