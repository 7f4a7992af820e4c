"""Surveys of the simulated landscape whose tracks and events are known.

Import it from any test as `from inventory.simulated_tracks import simulate_tracks`.

The glaciers, lakes and slumps of the landscape change as it has them. Others are added beside them,
round ones, each with a fate: to appear, to vanish, to come back, to be cut in two by a band of bare
ground, or to grow together with a neighbour; some of the landscape's own are cut as well. One
survey ends in the middle of the landscape, and one lies under clouds. Each survey is digitised anew
on pixels of its own: shifted as a whole, and its borders displaced at random by half a pixel.

What is true follows from the documented rules, for one who knows which outline is which. The rules
speak of outlines: a part that is drawn with less than half of it on the whole as that was drawn did
not break off it, though it did.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import shapely
from rasterio import Affine
from rasterio.features import rasterize, shapes
from scipy.ndimage import distance_transform_edt, gaussian_filter

from geoseg.data.simulate import make_landscape, surface
from geoseg.data.simulate.landscape import FINE_M
from geoseg.data.simulate.surface import CLEAN_ICE, DEBRIS_ICE, LAKE, POND, SLUMP, TARN
from geoseg.inventory.tracking import FREE, Sighting

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray
    from shapely.geometry.base import BaseGeometry

    from geoseg.data.simulate import Landscape
    from geoseg.data.simulate.surface import Surface
    from geoseg.inventory.tracking import Linked

YEARS = (1965, 1975, 1990, 2009, 2016, 2025)
GSDS_M = (10, 10, 30, 30, 10, 10)
EDGE, CLOUDS = 2, 3  # numbers of the surveys that did not see all of the ground
MIN_AREA_M2 = 5000
SEEN, MOSTLY = 0.9, 0.5  # shares that docs/inventory.md and link_sightings name
_BAND_M = 90.0  # three of the largest pixels, so that what is cut is seen to be
_GAP_M = 75.0  # between things that are added, for none to touch
_COARSE = 4  # pixels of the landscape to one on which room is looked for
_CHILD = 1_000_000  # what a part's number is above the number of the whole
_ADDED = 10_000  # first number of what is added


class TrueEvent(NamedTuple):
    """What happened to a thing between two surveys, given by their numbers."""

    name: str
    thing: int
    others: tuple[int, ...]
    before: int
    after: int


@dataclass(frozen=True)
class SimulatedSurvey:
    """Outlines of one kind in one survey."""

    polygons: NDArray[np.object_]  # (N,)
    things: NDArray[np.intp]  # (N,) number of what each is an outline of, no two alike
    seen: BaseGeometry

    def outline_of(self, thing: int) -> BaseGeometry | None:
        """Its outline, where there is one."""
        found = np.flatnonzero(self.things == thing)
        return self.polygons[found[0]] if len(found) else None

    def sighting(self, *, reach_m: float = 0.0) -> Sighting:
        """For `link_sightings`, which is not told the things."""
        return Sighting(self.polygons, self.seen, np.full(len(self.polygons), FREE), reach_m)


@dataclass(frozen=True)
class Simulated:
    """Surveys of one kind, oldest first, and what happened between them."""

    kind: str
    surveys: tuple[SimulatedSurvey, ...]
    events: tuple[TrueEvent, ...]


@dataclass(frozen=True)
class Scores:
    """How well tracks agree with the truth."""

    outlines: int
    pure: int  # outlines whose track is mostly of their own thing
    complete: int  # outlines in the track that holds most outlines of their thing
    events: int  # that happened
    found: int  # of these, told with the same things and surveys
    false: int  # events told that did not happen


def simulate_tracks(seed: int) -> list[Simulated]:
    """Glaciers, lakes and slumps of a landscape; the same for the same seed."""
    landscape = make_landscape(seed=seed)
    rng = np.random.default_rng([seed, 1])
    years = [surface(landscape, year) for year in YEARS]
    unseen = _unseen(landscape, rng)
    ground = _Ground(landscape, years, unseen, rng)
    parts = {"glacier": _glaciers, "lake": _lakes, "thaw_slump": _slumps}
    stories = {kind: _Story([of(y) for y in years]) for kind, of in parts.items()}
    for story in stories.values():
        _tell(story, ground, rng)
    digitised = [_Digitiser(landscape, gsd_m, rng) for gsd_m in GSDS_M]
    return [_simulated(kind, story, digitised, unseen, rng) for kind, story in stories.items()]


def score(simulated: Simulated, linked: Linked) -> Scores:
    """Compare tracks with the truth; a track stands for the thing that most of it is."""
    things = np.concatenate([survey.things for survey in simulated.surveys])
    tracks = np.concatenate(linked.of_outline)
    pairs = list(zip(tracks.tolist(), things.tolist(), strict=True))
    thing_of = _majority(tracks, things)
    main_of = _majority(things, tracks)
    told = Counter(
        TrueEvent(
            event.name,
            thing_of[event.track],
            tuple(sorted(thing_of[other] for other in event.others)),
            event.before,
            event.after,
        )
        for event in linked.events
    )
    found = (told & Counter(simulated.events)).total()
    return Scores(
        outlines=len(things),
        pure=sum(thing_of[track] == thing for track, thing in pairs),
        complete=sum(main_of[thing] == track for track, thing in pairs),
        events=len(simulated.events),
        found=found,
        false=told.total() - found,
    )


def _majority(keys: NDArray[np.intp], values: NDArray[np.intp]) -> dict[int, int]:
    """The value that is most often beside each key, the smallest of equals."""
    pairs = Counter(zip(keys.tolist(), values.tolist(), strict=True))
    best: dict[int, int] = {}
    for (key, value), _ in sorted(pairs.items(), key=lambda item: (item[1], -item[0][1])):
        best[key] = value
    return best


# What is where, in pixels of the landscape.


class _Story:
    """Numbers (H, W) of the things of a kind in each year, 0 for none."""

    def __init__(self, years: list[NDArray[np.int32]]) -> None:
        self.years = years
        self.splits: dict[int, tuple[int, int]] = {}  # child: parent, and the first survey after
        self.merges: dict[int, tuple[int, int]] = {}  # taken up: by which, and the first survey

    def cut(self, thing: int, after: int) -> None:
        """Remove a band; the part with most of the ground that the whole had carries on."""
        whole = self.years[after - 1] == thing
        across_px = _along_main_axis(whole)
        if (across_px[self.years[after] == thing] > 0).mean() < 0.5:
            across_px = -across_px  # what the thing grows by is of the larger part
        across_px -= np.quantile(across_px[whole], 0.35)
        child = across_px < 0
        for year in self.years[after:]:
            mine = year == thing
            year[mine & child] = thing + _CHILD
            year[mine & (np.abs(across_px) < _BAND_M / FINE_M / 2)] = 0
        parts = self.years[after]
        on_whole = [(whole & (parts == part)).sum() for part in (thing, thing + _CHILD)]
        assert on_whole[0] > 1.2 * on_whole[1], "no part is clearly the larger"
        self.splits[thing + _CHILD] = thing, after

    def join(self, one: int, other: int, after: int) -> None:
        """Fill the ground between two things; the larger of them takes the other up."""
        before = self.years[after - 1]
        large, small = sorted((one, other), key=lambda thing: -(before == thing).sum())
        assert (before == large).sum() > 1.2 * (before == small).sum(), "none is the larger"
        between = _between(before == one, before == other)
        for year in self.years[after:]:
            year[(year == small) | (between & (year == 0))] = large
        self.merges[small] = large, after

    def hide(self, thing: int, first: int, end: int) -> None:
        """Remove a thing from some surveys."""
        for year in self.years[first:end]:
            year[year == thing] = 0


class _Ground:
    """Where there is room for more.

    Args:
        unseen: (surveys, H, W).
    """

    def __init__(
        self,
        landscape: Landscape,
        years: list[Surface],
        unseen: NDArray[np.bool_],
        rng: np.random.Generator,
    ) -> None:
        self._bare = np.all([year.classes == 0 for year in years], axis=0)
        self._bare[[0, -1], :] = self._bare[:, [0, -1]] = False
        self.always_seen = ~unseen.any(axis=0)
        self._ragged = 1 + 0.06 * landscape.patches
        self._rng = rng
        self._next = _ADDED

    def add(
        self, story: _Story, count: int = 1, *, large: bool = False, seen: bool = False
    ) -> list[int]:
        """Numbers of so many things beside each other that are there in all years.

        Args:
            large: whether half of it is an outline yet.
            seen: whether only on ground that all surveys saw.
        """
        radius_m = self._rng.uniform(110, 150) * (1.6 if large else 1) * 0.7 ** np.arange(count)
        apart_m = np.cumsum([0, *(radius_m[:-1] + radius_m[1:] + _GAP_M)])
        reach_m = apart_m[-1] / 2 + 1.3 * radius_m[0] + _GAP_M
        places = np.argwhere(self._room(reach_m, seen=seen)) * _COARSE
        assert len(places), "there is no room for more"
        middle = places[self._rng.integers(len(places))] * FINE_M
        angle = self._rng.uniform(0, 2 * np.pi)
        step_m = np.outer(apart_m - apart_m[-1] / 2, [np.cos(angle), np.sin(angle)])
        growth = self._rng.uniform(-0.003, 0.002)  # of the radius, a year
        numbers = list(range(self._next, self._next + count))
        self._next += count
        for number, centre, radius in zip(numbers, middle + step_m, radius_m, strict=True):
            self._draw(story, number, centre, radius * (1 + growth * (np.array(YEARS) - YEARS[0])))
        return numbers

    def _room(self, reach_m: float, *, seen: bool) -> NDArray[np.bool_]:
        """Coarse pixels from which no other thing is in reach."""
        free = self._bare & self.always_seen if seen else self._bare
        height, width = (side // _COARSE for side in free.shape)
        blocks = free.reshape(height, _COARSE, width, _COARSE)
        away = distance_transform_edt(blocks.all(axis=(1, 3)))
        return np.asarray(away * _COARSE * FINE_M > reach_m)

    def _draw(
        self,
        story: _Story,
        number: int,
        centre: NDArray[np.float64],
        radii_m: NDArray[np.float64],
    ) -> None:
        """A ragged disc, of another radius in each year."""
        widest = 1.3 * radii_m.max()
        first = ((centre - widest - _GAP_M) / FINE_M).astype(int)
        side = int(2 * (widest + _GAP_M) / FINE_M)
        window = tuple(slice(max(0, start), start + side) for start in first)
        row, column = (
            np.arange(s.start, s.start + n)
            for s, n in zip(window, self._bare[window].shape, strict=True)
        )
        away_m = np.hypot(
            *np.meshgrid(row * FINE_M - centre[0], column * FINE_M - centre[1], indexing="ij")
        )
        for radius_m, things in zip(radii_m, story.years, strict=True):
            reach = np.minimum(radius_m * self._ragged[window], widest)
            things[window][(away_m < reach) & self._bare[window]] = number
        self._bare[window] &= away_m > widest


def _glaciers(year: Surface) -> NDArray[np.int32]:
    """Ponds on the ice are ice."""
    things = np.where(np.isin(year.classes, (CLEAN_ICE, DEBRIS_ICE)), year.objects, 0)
    pond = year.classes == POND
    nearest = distance_transform_edt(things == 0, return_distances=False, return_indices=True)
    return np.where(pond, things[tuple(nearest)], things).astype(np.int32)


def _lakes(year: Surface) -> NDArray[np.int32]:
    return np.where(np.isin(year.classes, (POND, LAKE, TARN)), year.objects, 0).astype(np.int32)


def _slumps(year: Surface) -> NDArray[np.int32]:
    return np.where(year.classes == SLUMP, year.objects, 0).astype(np.int32)


def _tell(story: _Story, ground: _Ground, rng: np.random.Generator) -> None:
    """Add things, each with its fate, and cut some that were there."""
    last = len(YEARS) - 1
    for thing in _large_and_seen(story, ground)[:2]:
        story.cut(thing, last - 1)
    for _ in range(3):
        (thing,) = ground.add(story, large=True, seen=True)
        story.cut(thing, int(rng.integers(1, last + 1)))
        one, other = ground.add(story, 2, seen=True)
        story.join(one, other, int(rng.integers(1, last + 1)))
        (thing,) = ground.add(story)
        story.hide(thing, 0, int(rng.integers(1, last + 1)))
        (thing,) = ground.add(story)
        story.hide(thing, int(rng.integers(1, last + 1)), last + 1)
        (thing,) = ground.add(story)
        gone = int(rng.integers(1, last))
        story.hide(thing, gone, int(rng.integers(gone + 1, last + 1)))
        ground.add(story)


def _large_and_seen(story: _Story, ground: _Ground) -> list[int]:
    """What is large enough to be cut before the last survey but one, the largest first."""
    things = story.years[-3]
    numbers, sizes = np.unique(things, return_counts=True)
    hidden = set(np.unique(things[~ground.always_seen]).tolist())
    order = np.argsort(-sizes)
    return [
        int(number)
        for number, size in zip(numbers[order], sizes[order], strict=True)
        if number and size * FINE_M**2 > 8 * MIN_AREA_M2 and int(number) not in hidden
    ]


def _unseen(landscape: Landscape, rng: np.random.Generator) -> NDArray[np.bool_]:
    """(surveys, H, W) the ground beyond the edge of one survey, and under the clouds of another."""
    height, width = landscape.grid.shape
    unseen = np.zeros((len(YEARS), height, width), dtype=bool)
    row, column = np.mgrid[:height, :width]
    unseen[EDGE] = column + 0.3 * row < 0.25 * width
    for _ in range(4):
        middle = rng.uniform(0.1, 0.9, 2) * (height, width)
        reach = rng.uniform(0.05, 0.09) * width * (1 + 0.2 * landscape.patches)
        unseen[CLOUDS] |= np.hypot(row - middle[0], column - middle[1]) < reach
    return unseen


def _along_main_axis(mask: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Position (H, W) in pixels along the direction in which a mask is longest."""
    points = np.argwhere(mask).astype(float)
    middle = points.mean(axis=0)
    _, _, axes = np.linalg.svd(np.cov((points - middle).T))
    row, column = np.mgrid[: mask.shape[0], : mask.shape[1]]
    return (row - middle[0]) * axes[0, 0] + (column - middle[1]) * axes[0, 1]


def _between(one: NDArray[np.bool_], other: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """A corridor from the middle of one mask to the middle of the other."""
    start, end = (np.argwhere(mask).mean(axis=0) for mask in (one, other))
    axis = shapely.LineString([start[::-1], end[::-1]]).buffer(_BAND_M / FINE_M / 2)
    return rasterize([axis], out_shape=one.shape).astype(bool)


# From pixels of the landscape to outlines.


class _Digitiser:
    """How a survey draws the ground: on its own pixels, a little shifted and shaken."""

    def __init__(self, landscape: Landscape, gsd_m: float, rng: np.random.Generator) -> None:
        self._step = round(gsd_m / FINE_M)
        self._gsd_m = gsd_m
        self._affine = landscape.grid.affine * Affine.scale(self._step)
        height, width = (side // self._step for side in landscape.grid.shape)
        self._frame = shapely.box(*self._affine * (0, height), *self._affine * (width, 0))
        middles = np.mgrid[:height, :width].astype(float) * self._step + (self._step - 1) / 2
        # White noise folds borders over; a reach of one and a half pixels does not.
        shake = gaussian_filter(rng.standard_normal(middles.shape), (0, 1.5, 1.5))
        shake *= 0.5 * self._step / shake.std()
        shift = rng.normal(0, 0.4 * self._step, (2, 1, 1))
        at = np.rint(middles + shake + shift).astype(int)
        limits = np.array(landscape.grid.shape)[:, None, None] - 1
        self._rows, self._columns = np.clip(at, 0, limits)

    def outlines(self, things: NDArray[np.int32]) -> tuple[NDArray[np.object_], NDArray[np.intp]]:
        """Multipolygons (N,) that do not overlap, and their numbers."""
        seen = things[self._rows, self._columns]
        found = list(shapes(seen, mask=seen != 0, connectivity=4, transform=self._affine))
        parts = np.array([shapely.geometry.shape(shape) for shape, _ in found], dtype=object)
        parts = shapely.coverage_simplify(parts, self._gsd_m)
        numbers, of_part = np.unique([int(value) for _, value in found], return_inverse=True)
        order = np.argsort(of_part, kind="stable")
        polygons = shapely.multipolygons(parts[order], indices=of_part[order])
        large = shapely.area(polygons) >= MIN_AREA_M2
        return polygons[large], numbers[large]

    def ground(self, unseen: NDArray[np.bool_]) -> BaseGeometry:
        """The ground that was seen."""
        hidden = unseen[self._rows, self._columns].astype(np.uint8)
        found = shapes(hidden, mask=hidden != 0, connectivity=4, transform=self._affine)
        parts = [shapely.geometry.shape(shape) for shape, _ in found]
        return self._frame.difference(shapely.union_all(parts))


def _simulated(
    kind: str,
    story: _Story,
    digitisers: list[_Digitiser],
    unseen: NDArray[np.bool_],
    rng: np.random.Generator,
) -> Simulated:
    surveys = []
    for digitiser, things, hidden in zip(digitisers, story.years, unseen, strict=True):
        polygons, numbers = digitiser.outlines(np.where(hidden, 0, things))
        order = rng.permutation(len(polygons))
        surveys.append(SimulatedSurvey(polygons[order], numbers[order], digitiser.ground(hidden)))
    numbers = sorted({int(n) for survey in surveys for n in survey.things})
    last_parent = _last_seen_by(surveys)
    events = [e for n in numbers for e in _events_of(n, story, surveys, last_parent)]
    return Simulated(kind=kind, surveys=tuple(surveys), events=tuple(events))


def _last_seen_by(surveys: list[SimulatedSurvey]) -> Callable[[int, int], int]:
    """The last survey, before some survey, that shows a thing."""

    def last(thing: int, before: int) -> int:
        return max(n for n, survey in enumerate(surveys[:before]) if thing in survey.things)

    return last


def _events_of(
    thing: int,
    story: _Story,
    surveys: list[SimulatedSurvey],
    last_of: Callable[[int, int], int],
) -> list[TrueEvent]:
    """What happened to one thing, by the rules of docs/inventory.md."""
    parent, born = _split(thing, story, surveys, last_of)
    taker, taken = _merge(thing, story, surveys, last_of)
    events: list[TrueEvent] = []
    ground, alive, bare = None, False, None
    for number, survey in enumerate(surveys):
        outline = survey.outline_of(thing)
        if outline is None:
            if ground is None or not _is_seen(ground, survey.seen):
                continue
            if alive:
                before = last_of(thing, number)
                merge = TrueEvent("merge", taker, (thing,), before, number)
                vanish = TrueEvent("vanish", thing, (), before, number)
                events.append(merge if number == taken else vanish)
            alive, bare = False, number
            continue
        if ground is None and number == born:
            events.append(TrueEvent("split", parent, (thing,), last_of(parent, number), number))
        elif not alive:
            name = "appear" if ground is None else "reappear"
            bare = _last_bare(outline, surveys[:number]) if ground is None else bare
            events.append(TrueEvent(name, thing, (), bare, number))
        ground, alive = outline, True
    return [event for event in events if event.before is not None]


def _split(
    thing: int,
    story: _Story,
    surveys: list[SimulatedSurvey],
    last_of: Callable[[int, int], int],
) -> tuple[int | None, int | None]:
    """What a thing broke off, and the first survey after; None where it did not."""
    parent, born = story.splits.get(thing, (None, None))
    part = None if born is None else surveys[born].outline_of(thing)
    if part is None:
        return None, None
    whole = surveys[last_of(parent, born)].outline_of(parent)
    return (parent, born) if _is_mostly_on(whole, part) else (None, None)


def _merge(
    thing: int,
    story: _Story,
    surveys: list[SimulatedSurvey],
    last_of: Callable[[int, int], int],
) -> tuple[int | None, int | None]:
    """What took a thing up, and the first survey after; None where nothing did."""
    taker, taken = story.merges.get(thing, (None, None))
    whole = None if taken is None else surveys[taken].outline_of(taker)
    if whole is None:
        return None, None
    part = surveys[last_of(thing, taken)].outline_of(thing)
    return (taker, taken) if _is_mostly_on(whole, part) else (None, None)


def _is_mostly_on(whole: BaseGeometry, part: BaseGeometry) -> bool:
    return part.intersection(whole).area >= MOSTLY * part.area


def _last_bare(outline: BaseGeometry, surveys: list[SimulatedSurvey]) -> int | None:
    """The last survey that saw the ground of an outline."""
    seen = [number for number, s in enumerate(surveys) if _is_seen(outline, s.seen)]
    return seen[-1] if seen else None


def _is_seen(polygon: BaseGeometry, seen: BaseGeometry) -> bool:
    return polygon.intersection(seen).area >= SEEN * polygon.area
