"""The ground of a simulated place: tundra, what looks like a thaw slump there, and at times one.

All lengths are in metres, all fields are (H, W) on a canvas of `CANVAS_PX` pixels of 10 m. What is
drawn of a place does not depend on whether it holds a slump, apart from the slump itself and the
bare patch that lies in its stead in most other places.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Literal

import numpy as np

from geoseg.data.simulate.noise import fractal, rising

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

__all__ = ["CANVAS_PX", "COVERS", "PIXEL_M", "Scar", "Slump", "Tundra", "field", "make_tundra"]

PIXEL_M = 10.0
CANVAS_PX = 144  # what 48 pixels of 30 m cover
COVERS = ("meadow", "schist", "granite", "mud", "clear water", "turbid water")

_BANK_PX = 1024
_WET_M = 15.0  # over which the floor turns from wet to dry


@dataclass(frozen=True, slots=True, kw_only=True)
class Scar:
    """Bare ground that grows by the year."""

    born: float  # decimal year
    first_m: float  # radius when it was born
    growth_m: float  # of the radius a year
    largest_m: float  # radius
    taken_at_m: NDArray[np.float32]  # the radius at which a pixel becomes part of it
    edge_m: float  # width over which it fades into the tundra
    soil: NDArray[np.float32]  # (K,) shares of COVERS

    def radius_m(self, year: float) -> float | None:
        """How far it reached in a year; None before it was born."""
        if year < self.born:
            return None
        return min(self.first_m + self.growth_m * (year - self.born), self.largest_m)

    def share(self, radius_m: float, window: tuple[slice, slice]) -> NDArray[np.float32]:
        """Of each pixel (h, w) of a window, how much of it is bare: 0 to 1, 0.5 on the edge."""
        inside = (radius_m - self.taken_at_m[window]) / self.edge_m + 0.5
        return _float32(np.clip(inside, 0, 1))


@dataclass(frozen=True, slots=True, kw_only=True)
class Slump:
    """A scar with a headwall around its upper end and a wet floor that opens downslope."""

    scar: Scar
    down_m: NDArray[np.float32]  # downslope of its middle
    inward: NDArray[np.float32]  # (2, H, W) unit vectors to its middle: east and north
    headwall_m: float  # width, as seen from above

    def headwall(self, radius_m: float, window: tuple[slice, slice]) -> NDArray[np.float32]:
        """Share (h, w) of each pixel that is wall."""
        behind = (self.scar.taken_at_m[window] - radius_m + self.headwall_m) / PIXEL_M + 0.5
        upper = (0.2 * radius_m - self.down_m[window]) / PIXEL_M
        wall = np.clip(behind, 0, 1) * np.clip(upper, 0, 1)
        return _float32(wall * self.scar.share(radius_m, window))

    def floor(self, radius_m: float, window: tuple[slice, slice]) -> NDArray[np.float32]:
        """How wet (h, w) the floor is, 0 to 1."""
        inner = (0.8 * radius_m - self.scar.taken_at_m[window]) / _WET_M
        lower = (self.down_m[window] + 0.3 * radius_m) / _WET_M
        return _float32(np.clip(inner, 0, 1) * np.clip(lower, 0, 1))


@dataclass(frozen=True, slots=True, kw_only=True)
class Tundra:
    """The ground of a place in all years."""

    covers: NDArray[np.float32]  # (K, H, W) shares of COVERS, which add up to 1, without scars
    relief: NDArray[np.float32]  # standard normal, of the size of hills
    texture: NDArray[np.float32]  # standard normal, rough
    scars: tuple[Scar, ...]  # bare patches that are no slump
    slump: Slump | None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Site:
    """Where a slump would be: a slope, in coordinates down and across it."""

    east_m: NDArray[np.float32]  # of the site
    north_m: NDArray[np.float32]
    down_m: NDArray[np.float32]
    across_m: NDArray[np.float32]

    @property
    def distance_m(self) -> NDArray[np.float32]:
        return _float32(np.hypot(self.east_m, self.north_m))


def make_tundra(rng: np.random.Generator, *, onset: float | None, green: float) -> Tundra:
    """The ground of a place.

    Args:
        rng: where the randomness comes from.
        onset: decimal year in which a slump begins, None where there is none.
        green: share of the ground under dense vegetation, 0 to 1.
    """
    site = _site(rng)
    patches = field("patches", rng)
    texture = field("texture", rng)
    mostly = 1 - 2 * green
    meadow = rising(patches + np.float32(0.3) * texture, mostly - 1.2, mostly + 1.2)
    covers = np.zeros((len(COVERS), *meadow.shape), dtype=np.float32)
    covers[0], covers[1] = meadow, 1 - meadow
    _fill_lakes(covers, site, rng)
    _draw_stream(covers, site, rng)
    _draw_road(covers, site, rng)
    return Tundra(
        covers=covers,
        relief=patches,
        texture=texture,
        scars=_bare_patches(site, texture, rng, instead=onset is None),
        slump=None if onset is None else _slump(site, texture, rng, onset),
    )


def field(
    kind: Literal["patches", "texture", "ponds"], rng: np.random.Generator
) -> NDArray[np.float32]:
    """Fractal noise (H, W) on the canvas, cut from a large field, turned and mirrored."""
    row, column = rng.integers(0, _BANK_PX - CANVAS_PX, 2)
    cut = _bank()[kind][row : row + CANVAS_PX, column : column + CANVAS_PX]
    turn = int(rng.integers(8))
    cut = cut[:: 1 - 2 * (turn & 1), :: 1 - (turn & 2)]
    return np.ascontiguousarray(cut.T if turn & 4 else cut)


def paint(
    covers: NDArray[np.float32], share: NDArray[np.float32], mixture: NDArray[np.float32]
) -> None:
    """Cover a share (H, W) of each pixel with a mixture (K,) of COVERS, in place."""
    covers *= 1 - share
    covers += mixture[:, None, None] * share


@cache
def _bank() -> Mapping[str, NDArray[np.float32]]:
    """Fields to cut from: to make new ones for each place would take most of its time."""
    rng = np.random.default_rng(20250)
    return {
        "patches": fractal(_BANK_PX, rng, roughness=3.0, longest=0.10),
        "texture": fractal(_BANK_PX, rng, roughness=1.6, longest=0.05),
        "ponds": fractal(_BANK_PX, rng, roughness=3.2, longest=0.05),
    }


def _site(rng: np.random.Generator) -> _Site:
    at = (np.arange(CANVAS_PX, dtype=np.float32) + 0.5 - CANVAS_PX / 2) * PIXEL_M
    east_m = np.broadcast_to(at[None, :] - np.float32(rng.uniform(-90, 90)), (CANVAS_PX,) * 2)
    north_m = np.broadcast_to(-at[:, None] - np.float32(rng.uniform(-90, 90)), (CANVAS_PX,) * 2)
    angle = rng.uniform(0, 2 * np.pi)
    down_east, down_north = np.float32(np.sin(angle)), np.float32(np.cos(angle))
    return _Site(
        east_m=east_m,
        north_m=north_m,
        down_m=_float32(east_m * down_east + north_m * down_north),
        across_m=_float32(east_m * down_north - north_m * down_east),
    )


def _fill_lakes(covers: NDArray[np.float32], site: _Site, rng: np.random.Generator) -> None:
    # The site is dry, whether there is a slump or not.
    hollow = field("ponds", rng) - 3 * np.exp(-((site.distance_m / 170) ** 2))
    shore = rng.uniform(0.7, 2.6)
    paint(covers, rising(hollow, shore, shore + 0.3), _water(rng))


def _draw_stream(covers: NDArray[np.float32], site: _Site, rng: np.random.Generator) -> None:
    """In half of the places: below the site, and with bars of bare gravel in most."""
    away_m, length_m, swing_m, phase = rng.uniform((130, 200, 10, 0), (300, 500, 50, 6.3))
    half_m, bar_m = rng.uniform((4, 8), (14, 30))
    water, gravel = _water(rng), _soil(rng)
    if rng.random() < 0.5:
        return
    wave = site.across_m * np.float32(2 * np.pi / length_m) + np.float32(phase)
    off_m = site.down_m - np.float32(away_m) - np.float32(swing_m) * np.sin(wave)
    if rng.random() < 0.7:
        bar = np.clip((bar_m - np.abs(off_m + 0.6 * bar_m)) / 15, 0, 1)
        paint(covers, bar * rising(np.sin(1.7 * wave), -0.2, 0.3), gravel)
    paint(covers, np.clip((half_m - np.abs(off_m)) / PIXEL_M + 0.5, 0, 1), water)


def _draw_road(covers: NDArray[np.float32], site: _Site, rng: np.random.Generator) -> None:
    """In one place of eight."""
    angle, off_m, half_m = rng.uniform((0, -200, 4), (np.pi, 200, 9))
    soil = _soil(rng)
    if rng.random() > 0.125:
        return
    across = site.east_m * np.float32(np.cos(angle)) + site.north_m * np.float32(np.sin(angle))
    paint(covers, np.clip((half_m - np.abs(across - off_m)) / PIXEL_M + 0.5, 0, 1), soil)


def _bare_patches(
    site: _Site, texture: NDArray[np.float32], rng: np.random.Generator, *, instead: bool
) -> tuple[Scar, ...]:
    """Blowouts and landslips without a headwall: in the stead of a slump, and elsewhere."""
    scars = []
    if instead and rng.random() < 0.75:
        scars.append(_bare_patch(site, texture, rng, (0.0, 0.0)))
    if rng.random() < 0.35:
        angle, away_m = rng.uniform((0, 180), (2 * np.pi, 600))
        middle = (away_m * np.cos(angle), away_m * np.sin(angle))
        scars.append(_bare_patch(site, texture, rng, middle))
    return tuple(scars)


def _bare_patch(
    site: _Site,
    texture: NDArray[np.float32],
    rng: np.random.Generator,
    middle_m: tuple[float, float],
) -> Scar:
    angle, long = rng.uniform((0, 1.0), (np.pi, 1.7))
    east, north = site.east_m - np.float32(middle_m[0]), site.north_m - np.float32(middle_m[1])
    cosine, sine = np.float32(np.cos(angle)), np.float32(np.sin(angle))
    along, across = east * cosine + north * sine, north * cosine - east * sine
    distance_m = np.hypot(along / np.float32(long), across)
    # They begin and grow as slumps do: that something turned bare is no proof of a slump.
    return _scar(rng, distance_m, texture, rng.uniform(1950, 2016), rng.uniform(12, 40))


def _slump(
    site: _Site, texture: NDArray[np.float32], rng: np.random.Generator, onset: float
) -> Slump:
    # A horseshoe: wide under its headwall, narrow where the mud runs out.
    upper = np.hypot(0.9 * site.down_m, site.across_m)
    lower = np.hypot(0.65 * site.down_m, 1.25 * site.across_m)
    distance_m = np.where(site.down_m < 0, upper, lower)
    length = np.maximum(site.distance_m, 1)
    return Slump(
        scar=_scar(rng, distance_m, texture, onset, PIXEL_M),
        down_m=site.down_m,
        inward=np.stack([-site.east_m / length, -site.north_m / length]),
        headwall_m=float(rng.uniform(8, 18)),
    )


def _scar(
    rng: np.random.Generator,
    distance_m: NDArray[np.float32],
    texture: NDArray[np.float32],
    born: float,
    edge_m: float,
) -> Scar:
    lobes = field("ponds", rng)
    growth_m, largest_m = rng.uniform((4, 45), (8, 130))
    return Scar(
        born=float(born),
        first_m=25.0,
        growth_m=float(growth_m),
        largest_m=float(largest_m),
        # One ragged edge for all years: it only ever moves outwards.
        taken_at_m=_float32(distance_m * np.exp(0.08 * texture + 0.18 * lobes)),
        edge_m=float(edge_m),
        soil=_soil(rng),
    )


def _soil(rng: np.random.Generator) -> NDArray[np.float32]:
    """Dry and bright to wet and dark."""
    dry, grown = rng.uniform((0.1, 0.0), (0.9, 0.3))
    return np.array([grown, 0, dry, 1 - dry, 0, 0], dtype=np.float32) / np.float32(1 + grown)


def _water(rng: np.random.Generator) -> NDArray[np.float32]:
    turbid = rng.uniform(0, 0.8)
    return np.array([0, 0, 0, 0, 1 - turbid, turbid], dtype=np.float32)


def _float32(values: NDArray[np.floating]) -> NDArray[np.float32]:
    return np.asarray(values, dtype=np.float32)
