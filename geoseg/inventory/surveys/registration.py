"""Whether surveys lie on one another, from outlines that did not change.

A shift has the signs of `geoseg.scenes.coregister`: where a survey lies relative to the reference;
subtract it to correct the survey.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Literal, NamedTuple

import numpy as np
import shapely
from pyproj import CRS
from scipy.spatial import cKDTree
from shapely.affinity import translate

from geoseg.errors import ConfigError, GridError, nearest
from geoseg.grids import same_crs
from geoseg.scenes.coregister import Shift, median_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from geoseg.inventory.surveys.survey import Survey

__all__ = [
    "Registration",
    "Verdict",
    "check_registration",
    "corrected",
    "needs_correction",
    "outline_shift",
    "registered",
]

Verdict = Literal["reference", "ok", "correct", "refuse", "unmeasured"]

_USUAL_GSD_M = 30.0  # Landsat's, where a survey does not say
_SEARCH_M = 500.0
_SMALLEST_PX = 16.0  # area: what is smaller has no shape to be known by
_AREA_CHANGE = 0.1
_LEAST_OVERLAP = 0.8  # shared area over joint area, one laid on the other; hand-drawn lakes have it
_COPIED = 1 - 1e-6  # the same of an outline that was carried over, not drawn again
_AGREE_PX = 2.0  # shifts of outlines that differ by less may be one
_FEWEST = 5  # below it a median and its error say little
_REFUSE_PX, _REFUSE_M = 10.0, 200.0
_CORRECT_PX = 0.5
_SIGNIFICANT = 3.0  # standard deviations


@dataclass(frozen=True, slots=True, kw_only=True)
class Registration:
    """How a survey lies on the reference survey, and what is to be done about it."""

    survey: str
    reference: str
    shift: Shift | None  # None where it could not be measured, which is not 0
    verdict: Verdict
    refuse_above_m: float  # the limit that the verdict was given by


class _Matches(NamedTuple):
    """Outlines (N) of two surveys of much the same shape."""

    offset: NDArray[np.float64]  # (N, 2), x and y in metres from the reference to the other
    one_sided: NDArray[np.float64]  # metres by which growth at one end alone would move the middle
    copied: NDArray[np.bool_]
    outlines: int  # of the other survey that have a match


def outline_shift(reference: Survey, other: Survey, *, within_m: float = _SEARCH_M) -> Shift | None:
    """The shift of a survey from a reference; None where it could not be measured.

    It is the median over outlines of one kind whose area changed by no more than 10 % and whose
    shape hardly did. More than half of all that look alike have to agree on it. A lake that grows
    or a glacier that shrinks at one end moves its middle: an outline is left out when its change of
    area could feign half a pixel, and what the others could feign together is in the uncertainty.
    Outlines that were copied from one survey to the other count only where few were drawn anew.

    Args:
        reference: the survey that lies right.
        other: in the same CRS.
        within_m: how far apart an outline and its match may lie.

    Raises:
        GridError: the surveys are in different reference systems.
    """
    _require_one_crs(reference, other)
    pixel_m = _coarser_gsd_m(reference, other)
    matches = _matches(reference, other, within_m, pixel_m)
    agreeing = _agreeing(matches.offset, _AGREE_PX * pixel_m)
    if agreeing.sum() < max(_FEWEST, matches.outlines / 2):
        return None
    redrawn = agreeing & ~matches.copied
    used = redrawn if redrawn.sum() >= _FEWEST else agreeing
    median, unc_m = median_of(matches.offset[used])
    feigned_m = np.median(matches.one_sided[used])
    return Shift(
        x_m=float(median[0]),
        y_m=float(median[1]),
        unc_m=float(np.hypot(unc_m, feigned_m)),
        samples=int(used.sum()),
    )


def check_registration(
    surveys: Sequence[Survey],
    *,
    reference: str | None = None,
    measured: Mapping[str, Shift] = MappingProxyType({}),
    correct_above_m: float | None = None,
    refuse_above_m: float | None = None,
) -> list[Registration]:
    """How each survey lies on the reference, in the order given.

    Args:
        surveys: all in one CRS.
        reference: name of the survey that lies right; the newest of the finest pixel when None.
        measured: shifts from it that are known already, as from images, by the name of the survey.
        correct_above_m: a significant shift (3 standard deviations) longer than this is to be
            corrected; half a pixel of the coarser survey when None.
        refuse_above_m: a survey with a longer shift is refused; ten pixels of the coarser
            survey, at most 200 m, when None.

    Raises:
        ConfigError: no survey, or none of the name of the reference.
        GridError: the surveys are in different reference systems.
    """
    base = _reference(surveys, reference)
    limits = correct_above_m, refuse_above_m
    return [_registration(base, one, measured.get(one.name), *limits) for one in surveys]


def registered(surveys: Sequence[Survey], registrations: Sequence[Registration]) -> list[Survey]:
    """The surveys, those with the verdict `correct` corrected; the others are left as they are.

    Raises:
        GridError: a survey is refused.
    """
    found = {r.survey: r for r in registrations}
    return [_registered(survey, found[survey.name]) for survey in surveys]


def corrected(survey: Survey, shift: Shift) -> Survey:
    """A survey moved back by its shift: its outlines, and the ground that it saw."""
    outlines = survey.outlines.copy()
    outlines[outlines.geometry.name] = outlines.geometry.translate(-shift.x_m, -shift.y_m)
    seen = survey.seen
    if seen is not None:
        seen = translate(seen, -shift.x_m, -shift.y_m)
    return replace(survey, outlines=outlines, seen=seen)


def _registered(survey: Survey, registration: Registration) -> Survey:
    shift = registration.shift
    if shift is None or registration.verdict in ("reference", "ok"):
        return survey
    if registration.verdict == "correct":
        return corrected(survey, shift)
    raise GridError(
        f"Survey {survey.name!r} lies {shift.length_m:.0f} m from {registration.reference!r} "
        f"({shift.x_m:+.0f} m in x, {shift.y_m:+.0f} m in y, each to {shift.unc_m:.1f} m), more "
        f"than {registration.refuse_above_m:g} m; georeference its images anew, or allow more "
        "(--most-shift, inventory.most_shift_m)."
    )


def _registration(
    base: Survey,
    survey: Survey,
    known: Shift | None,
    correct_above_m: float | None,
    refuse_above_m: float | None,
) -> Registration:
    pixel_m = _coarser_gsd_m(base, survey)
    if refuse_above_m is None:
        refuse_above_m = min(_REFUSE_PX * pixel_m, _REFUSE_M)
    if correct_above_m is None:
        correct_above_m = _CORRECT_PX * pixel_m
    shift: Shift | None = Shift(x_m=0.0, y_m=0.0, unc_m=0.0, samples=0)
    verdict: Verdict = "reference"
    if survey is not base:
        # Further than is allowed: what is not found cannot be refused.
        reach_m = max(_SEARCH_M, 2 * refuse_above_m)
        shift = outline_shift(base, survey, within_m=reach_m) if known is None else known
        verdict = _verdict(shift, correct_above_m, refuse_above_m)
    return Registration(
        survey=survey.name,
        reference=base.name,
        shift=shift,
        verdict=verdict,
        refuse_above_m=refuse_above_m,
    )


def needs_correction(shift: Shift, *, pixel_m: float) -> bool:
    """Whether a shift is longer than half a pixel of the coarser survey, beyond doubt."""
    return _verdict(shift, _CORRECT_PX * pixel_m, np.inf) == "correct"


def _verdict(shift: Shift | None, correct_above_m: float, refuse_above_m: float) -> Verdict:
    if shift is None:
        return "unmeasured"
    if shift.length_m > refuse_above_m:
        return "refuse"
    if shift.length_m > max(correct_above_m, _SIGNIFICANT * shift.unc_m):
        return "correct"
    return "ok"


def _reference(surveys: Sequence[Survey], name: str | None) -> Survey:
    if not surveys:
        raise ConfigError("There is no survey to register; give at least one.")
    if name is None:
        return min(surveys, key=lambda s: (s.gsd_m or np.inf, -s.middle.timestamp()))
    by_name = {survey.name: survey for survey in surveys}
    if name not in by_name:
        raise ConfigError(f"no survey {name!r} to refer to. {nearest(name, by_name)}")
    return by_name[name]


def _coarser_gsd_m(one: Survey, other: Survey) -> float:
    return max(one.gsd_m or _USUAL_GSD_M, other.gsd_m or _USUAL_GSD_M)


def _require_one_crs(one: Survey, other: Survey) -> None:
    first, second = CRS(one.outlines.crs), CRS(other.outlines.crs)
    if not same_crs(first, second):
        raise GridError(
            f"Survey {one.name!r} is in {first.name} and {other.name!r} in {second.name}; bring "
            "them into one reference system first."
        )


def _matches(reference: Survey, other: Survey, within_m: float, pixel_m: float) -> _Matches:
    """All pairs of outlines, not too far apart, that are alike in kind, area and shape."""
    smallest_m2 = _SMALLEST_PX * pixel_m**2
    (one, kind_one), (two, kind_two) = (_shapes(s, smallest_m2) for s in (reference, other))
    middle_one, middle_two = (shapely.centroid(shapes) for shapes in (one, two))
    j, i = shapely.STRtree(middle_one).query(middle_two, "dwithin", within_m)
    change = np.log(shapely.area(two[j]) / shapely.area(one[i]))
    # Half the diagonal of its box is the furthest that an end can lie from the middle.
    reach_m = np.array([np.hypot(*(b[2:] - b[:2])) / 2 for b in shapely.bounds(one[i])])
    alike = (
        (kind_one[i] == kind_two[j])
        & (np.abs(change) <= np.log1p(_AREA_CHANGE))
        & (np.abs(change) * reach_m <= _CORRECT_PX * pixel_m)
    )
    i, j, one_sided = i[alike], j[alike], (change * reach_m)[alike]
    overlap = _overlap(_centred(one[i], middle_one[i]), _centred(two[j], middle_two[j]))
    kept = overlap >= _LEAST_OVERLAP
    i, j = i[kept], j[kept]
    offset = shapely.get_coordinates(middle_two[j]) - shapely.get_coordinates(middle_one[i])
    return _Matches(offset, one_sided[kept], overlap[kept] >= _COPIED, len(np.unique(j)))


def _shapes(survey: Survey, smallest_m2: float) -> tuple[NDArray[np.object_], NDArray[np.object_]]:
    """Outlines of a survey that are not too small, and their kinds."""
    shapes = np.asarray(survey.outlines.geometry, dtype=object)
    large = shapely.area(shapes) >= smallest_m2
    return shapes[large], survey.outlines["kind"].to_numpy(dtype=object)[large]


def _centred(shapes: NDArray[np.object_], middles: NDArray[np.object_]) -> NDArray[np.object_]:
    """Shapes with their middle in the origin."""
    corners, owner = shapely.get_coordinates(shapes, return_index=True)
    moved = corners - shapely.get_coordinates(middles)[owner]
    return np.asarray(shapely.set_coordinates(shapes.copy(), moved))


def _overlap(one: NDArray[np.object_], other: NDArray[np.object_]) -> NDArray[np.float64]:
    """Shared area over joint area of each pair."""
    shared = shapely.area(shapely.intersection(one, other))
    return np.asarray(shared / (shapely.area(one) + shapely.area(other) - shared))


def _agreeing(offset: NDArray[np.float64], tolerance_m: float) -> NDArray[np.bool_]:
    """Offsets (N) near the place where they lie densest."""
    if len(offset) == 0:
        return np.zeros(0, dtype=bool)
    near = cKDTree(offset).query_ball_point(offset, tolerance_m, return_length=True)
    centre = offset[np.argmax(near)]
    return np.asarray(np.hypot(*(offset - centre).T) <= tolerance_m)
