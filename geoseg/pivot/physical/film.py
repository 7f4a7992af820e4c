"""Film: grey values of an unknown tone, tied to what is expected of the ground, as a look at it.

grey = f(reflectance of the footprint) + grain, where f is monotone, falls on a negative and differs
from frame to frame. It is estimated on the frame's own pixels against the broadband visible that
all else tells of its day, which is the climatology where all else is years away: a regression of
grey on what is expected, for the ground differs from that, and a regression the other way around
would shrink its contrast. Pixels of ground that hardly varies weigh most.

Convention: a curve gives grey values of reflectances, and its inverse is what is measured; what a
grey value is off by becomes a standard deviation of reflectance by the slope of the curve there. A
worked number: where f rises by 600 grey values per unit of reflectance, grain of 6 of them is 0.01.

The same pixels fix the curve and then move the state. A curve of a dozen numbers takes little from
thousands of pixels, but what it is off by is shared by all of them (`Look.shared_sd`), and so is a
brightening of all of the ground, which no curve can tell from an exposure: it is lost. What is left
about the curve is grain and scan, and what the ground differs from its expectation; of that, only
what the expectation owns up to is taken off, and never below the grain that the frame itself shows.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
from scipy.interpolate import PchipInterpolator
from scipy.ndimage import median_filter
from scipy.stats import norm, spearmanr
from sklearn.isotonic import IsotonicRegression

from geoseg.errors import SceneError
from geoseg.pivot.measurement.footprint import Footprint
from geoseg.pivot.measurement.looks import Look
from geoseg.pivot.measurement.noise import Noise, measurement_variance
from geoseg.pivot.measurement.optics import USUAL_MTF
from geoseg.pivot.physical.smoothing import smooth_looks
from geoseg.sensors import SensorKind

if TYPE_CHECKING:
    from collections.abc import Callable, Container, Iterable, Sequence

    from numpy.typing import NDArray
    from odc.geo.geobox import GeoBox
    from torch import Tensor

    from geoseg.pivot.measurement.acquisition import Acquisition
    from geoseg.pivot.physical.wander import Process

__all__ = ["FILM_VARIABLE", "ToneCurve", "film_look", "require_tie", "tone_of", "with_film"]

FILM_VARIABLE = "visible"

_LEAST_PIXELS = 100
_LEAST_CORRELATION = 0.5  # of ranks, below which a curve rests on too little
_BINS, _BIN_PIXELS = 24, 25
_SCRATCH = 4.5  # standard deviations from the median of 3 x 3 pixels
_BEYOND = 0.5  # of the range of a curve, by which it is drawn on at its ends
_STEPS = 2048  # of reflectance, in which a curve is inverted
_MOST_SD = 0.10  # reflectance, beyond which a pixel says nothing
_SHARED_ABSOLUTE = 0.005  # reflectance, haze and calibration of what the curve is tied to
_PATCH_M = 100.0  # over which ground differs from its expectation alike
_TO_SD = 1.4826  # of a median absolute deviation


class _Tie(NamedTuple):
    """Pixels (N,) of a frame, beside what is expected of them."""

    grey: NDArray[np.float64]
    expected: NDArray[np.float64]  # reflectance
    variance: NDArray[np.float64]  # of the expectation


@dataclass(frozen=True, kw_only=True)
class ToneCurve:
    """Grey values of reflectances, monotone; drawn on straight beyond its knots."""

    reflectance: NDArray[np.float64]  # (K,) knots, rising
    grey: NDArray[np.float64]  # (K,) rising, or falling on a negative
    grey_sd: float  # of a pixel, what is left about the curve
    correlation: float  # of the ranks of grey and expectation; below 0 on a negative
    tied: bool  # False: no curve could be fitted, and ranks were matched

    @classmethod
    def estimated(
        cls,
        grey: NDArray[np.floating],
        expected: NDArray[np.floating],
        variance: NDArray[np.floating],
        *,
        grain: float = 0.0,
    ) -> ToneCurve:
        """The curve of pixels (N,), or their ranks where they are few or hardly go together.

        Args:
            grey: values of the frame.
            expected: reflectance of the same pixels.
            variance: of the expectation: of the climatology, and of what ground wanders about it.
            grain: standard deviation of grey values that the frame shows by itself.

        Raises:
            SceneError: a frame of one grey value, or of no pixel.
        """
        kept = np.isfinite(grey) & np.isfinite(expected) & np.isfinite(variance)
        tie = _Tie(*(np.asarray(a, dtype=np.float64)[kept] for a in (grey, expected, variance)))
        if len(np.unique(tie.grey)) < 2:
            raise SceneError(
                "The frame shows one grey value, or no pixel of the pivot; leave it out."
            )
        alike = _rank_correlation(tie)
        if len(tie.grey) < _LEAST_PIXELS or abs(alike) < _LEAST_CORRELATION:
            return cls._of_ranks(tie, alike)
        knots, tones = _knots(tie, rising=alike > 0)
        if len(knots) < 3:
            return cls._of_ranks(tie, alike)
        curve = cls(reflectance=knots, grey=tones, grey_sd=0.0, correlation=alike, tied=True)
        return cls(
            reflectance=knots,
            grey=tones,
            grey_sd=max(_left_about(curve, tie), grain, 0.5),
            correlation=alike,
            tied=True,
        )

    @classmethod
    def _of_ranks(cls, tie: _Tie, alike: float) -> ToneCurve:
        """Quantiles of grey at those of the expectation, with all of its spread.

        A pixel is given the noise at which a measurement moves the ground by no more than the
        correlation of the two warrants: variance * (1 / |correlation| - 1).
        """
        share = np.linspace(0.02, 0.98, 13)
        spread = math.sqrt(float(tie.expected.var() + tie.variance.mean()))
        knots = float(tie.expected.mean()) + spread * norm.ppf(share)
        tones, first = np.unique(np.quantile(tie.grey, share), return_index=True)
        if len(tones) < 2:
            tones, first = np.array([tie.grey.min(), tie.grey.max()]), np.array([0, 12])
        slope = float(np.ptp(tones) / np.ptp(knots[first]))
        doubt = math.sqrt(1 / max(abs(alike), 0.05) - 1)
        return cls(
            reflectance=knots[first],
            grey=tones if alike >= 0 else tones[::-1].copy(),
            grey_sd=max(doubt * spread * slope, 0.5),
            correlation=alike,
            tied=False,
        )

    @property
    def negative(self) -> bool:
        """Whether bright ground is dark."""
        return bool(self.grey[-1] < self.grey[0])

    def grey_of(self, reflectance: NDArray[np.floating]) -> NDArray[np.float64]:
        """Grey values of reflectances of any shape; NaN far beyond the knots."""
        low, high = self._ends
        inside = self._spline(np.clip(reflectance, self.reflectance[0], self.reflectance[-1]))
        below = np.minimum(reflectance - self.reflectance[0], 0) * self._end_slopes[0]
        above = np.maximum(reflectance - self.reflectance[-1], 0) * self._end_slopes[1]
        reached = (reflectance >= low) & (reflectance <= high)
        return np.where(reached, inside + below + above, np.nan)

    def reflectance_of(
        self, grey: NDArray[np.floating]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Reflectances of grey values of any shape, and their variances; NaN where there is none.

        There is none where the curve does not reach, or where it is so flat, in fog or on snow that
        has burnt out, that a pixel would be off by more than 0.1. The slope is that over what a
        grey value is off by, so that one grey value too many on a flat shoulder counts for little.
        """
        fine = np.linspace(*self._ends, _STEPS)
        tones = self.grey_of(fine)
        order = slice(None, None, -1 if self.negative else 1)
        tones, fine = tones[order], fine[order]
        found = np.interp(grey, tones, fine, left=np.nan, right=np.nan)
        low = np.interp(grey - self.grey_sd, tones, fine)
        high = np.interp(grey + self.grey_sd, tones, fine)
        cut = (grey - self.grey_sd < tones[0]) | (grey + self.grey_sd > tones[-1])
        wider = np.maximum(np.abs(high - found), np.abs(found - low))
        sd = np.where(cut, wider, np.abs(high - low) / 2)
        most = _MOST_SD if self.tied else np.inf
        known = np.isfinite(found) & (sd <= most)
        return np.where(known, found, np.nan), np.where(known, sd**2, np.nan)

    @cached_property
    def _spline(self) -> PchipInterpolator:
        return PchipInterpolator(self.reflectance, self.grey)

    @cached_property
    def _ends(self) -> tuple[float, float]:
        """How far the curve is drawn."""
        more = _BEYOND * float(np.ptp(self.reflectance))
        return float(self.reflectance[0]) - more, float(self.reflectance[-1]) + more

    @cached_property
    def _end_slopes(self) -> tuple[float, float]:
        """Of the outer quarters: the outermost two knots alone are rough."""
        quarter = max(1, len(self.grey) // 4)
        rise = (self.grey[quarter] - self.grey[0], self.grey[-1] - self.grey[-1 - quarter])
        run = (
            self.reflectance[quarter] - self.reflectance[0],
            self.reflectance[-1] - self.reflectance[-1 - quarter],
        )
        return float(rise[0] / run[0]), float(rise[1] / run[1])


def tone_of(
    acquisition: Acquisition, expected: Tensor, variance: Tensor, ground: GeoBox
) -> ToneCurve | None:
    """The tone curve of a frame of film; None where it shows no ground, or one grey value of it.

    Args:
        acquisition: of film.
        expected: broadband visible (H, W) of the ground on its day, reflectance.
        variance: of the expectation (H, W).
        ground: cells of the pivot.

    Raises:
        SceneError: an acquisition that is no film.
        GridError: as `Footprint`.
    """
    frame = _frame(acquisition, ground)
    return None if frame is None else _curve(frame, expected, variance)


def film_look(
    acquisition: Acquisition, expected: Tensor, variance: Tensor, ground: GeoBox
) -> Look | None:
    """What a frame says of the broadband visible; None where it shows nothing of the ground.

    Args, errors: as in `tone_of`.
    """
    frame = _frame(acquisition, ground)
    if frame is None:
        return None
    curve = _curve(frame, expected, variance)
    values, doubt = curve.reflectance_of(frame.grey.numpy())
    measured = torch.from_numpy(values).to(frame.grey)
    beside = measurement_variance(
        measured[None],
        Noise(absolute=1e-6, registration_m=acquisition.registration_m),
        pixel_m=frame.footprint.pixel_m,
    )[0]
    spread = torch.from_numpy(doubt).to(frame.grey) + beside
    valid = torch.isfinite(measured) & torch.isfinite(spread) & frame.footprint.covered
    if not valid.any():
        return None
    return Look(
        acquisition=acquisition.id,
        day=acquisition.day,
        footprint=frame.footprint,
        measured=measured.masked_fill(~valid, 0.0),
        variance=spread.masked_fill(~valid, torch.inf),
        shared_sd=_shared_sd(frame, variance),
    )


def with_film(
    looks: Sequence[Look],
    frames: Sequence[Acquisition],
    ground: GeoBox,
    usual: Callable[[float], tuple[Tensor, Tensor]],
    process: Process,
) -> list[Look]:
    """Looks of the broadband visible with those of film among them, in order of days.

    Each frame is tied to what all acquisitions but film tell of its day: that is the climatology
    with all of its spread where they are years away.

    Args:
        looks: of the others, in order; may be none.
        frames: of film.
        ground: cells (H, W) of the pivot.
        usual: climatology and its variance (H, W) on a day.
        process: of what cells do beyond it.
    """
    detail, region = (
        smooth_looks(looks, lambda day: usual(day)[0], process) if looks else (None, None)
    )
    found = list(looks)
    for frame in frames:
        mean, doubt = usual(frame.day)
        variance = process.variance + doubt
        if detail is not None and region is not None:
            fine, coarse = detail.at(frame.day), region.at(frame.day)
            mean = mean + fine.mean + coarse.mean
            known = fine.variance + coarse.variance
            variance = known + (known / process.variance) ** 2 * doubt
        look = film_look(frame, mean, variance, ground)
        if look is not None:
            found.append(look)
    return sorted(found, key=lambda look: look.day)


def require_tie(acquisitions: Iterable[Acquisition], variables: Container[str]) -> None:
    """Refuse film where nothing else shows the visible.

    Args:
        acquisitions: all.
        variables: that others than film show.

    Raises:
        SceneError: film, and nothing that it can be tied to.
    """
    frames = [one.id for one in acquisitions if one.sensor.kind is SensorKind.FILM]
    if frames and FILM_VARIABLE not in variables:
        raise SceneError(
            f"Film {frames[0]!r} has no calibration and nothing else shows the visible here; give "
            "acquisitions of the same ground in blue, green and red too, of any year."
        )


class _Frame(NamedTuple):
    """Pixels (h, w) of film that look on the ground."""

    footprint: Footprint
    grey: Tensor  # NaN where not valid


def _frame(acquisition: Acquisition, ground: GeoBox) -> _Frame | None:
    if acquisition.sensor.kind is not SensorKind.FILM:
        raise SceneError(
            f"Acquisition {acquisition.id!r} is of {acquisition.sensor_id}, which is no film; "
            "its bands are calibrated: take looks_of."
        )
    reading = acquisition.readings[0]
    band = acquisition.sensor.band(reading.bands[0])
    footprint = Footprint(ground, reading.pixels, band.mtf_nyquist or USUAL_MTF)
    if not torch.isfinite(reading.values[0]).any():
        return None
    whole = _unscratched(reading.values[0].double().numpy())
    grey = torch.from_numpy(whole).float().masked_fill(~footprint.covered, torch.nan)
    several = grey[torch.isfinite(grey)].unique().numel() > 1
    return _Frame(footprint, grey) if several else None


def _curve(frame: _Frame, expected: Tensor, variance: Tensor) -> ToneCurve:
    grey = frame.grey.double().numpy()
    return ToneCurve.estimated(
        grey.ravel(),
        frame.footprint.forward(expected).double().numpy().ravel(),
        frame.footprint.forward(variance).double().numpy().ravel(),
        grain=_grain(grey),
    )


def _unscratched(grey: NDArray[np.float64]) -> NDArray[np.float64]:
    """Grey values (h, w), NaN on dust and scratches: what no point spread could have drawn.

    A pixel that its neighbours know nothing of is no ground, for that is blurred over them.
    """
    around = median_filter(np.where(np.isfinite(grey), grey, np.nanmedian(grey)), 3, mode="nearest")
    beside = np.abs(grey - around)
    usual = _TO_SD * float(np.nanmedian(beside))
    return np.where(beside > _SCRATCH * max(usual, 1.0), np.nan, grey)


def _grain(grey: NDArray[np.float64]) -> float:
    """Standard deviation of grain: what a pixel differs from both of its neighbours' mean.

    The median over all pixels, as edges of the ground differ there too.
    """
    if min(grey.shape) < 3:
        return 0.0
    down = grey[1:-1] - (grey[2:] + grey[:-2]) / 2
    across = grey[:, 1:-1] - (grey[:, 2:] + grey[:, :-2]) / 2
    both = np.abs(np.concatenate([down.ravel(), across.ravel()]))
    both = both[np.isfinite(both)]
    return float(_TO_SD * np.median(both) / math.sqrt(1.5)) if len(both) else 0.0


def _shared_sd(frame: _Frame, variance: Tensor) -> float:
    """By which all pixels are off together: what the curve is tied to, over as many patches."""
    seen = torch.isfinite(frame.grey)
    patches = max(1.0, float(seen.sum()) * (frame.footprint.pixel_m / _PATCH_M) ** 2)
    doubt = float(frame.footprint.forward(variance)[seen].mean())
    return math.sqrt(_SHARED_ABSOLUTE**2 + doubt / patches)


def _rank_correlation(tie: _Tie) -> float:
    """0 where all of the ground is expected to be alike."""
    if len(np.unique(tie.expected)) < 2:
        return 0.0
    return float(spearmanr(tie.grey, tie.expected).statistic)


def _knots(tie: _Tie, *, rising: bool) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Reflectances and grey values (K,) of bins of the expectation, made strictly monotone.

    The median of a bin is that of its ground through a monotone curve, bent as it may be, and a
    scratch or ground that has changed does not move it.
    """
    bins = int(np.clip(len(tie.grey) // _BIN_PIXELS, 4, _BINS))
    edges = np.unique(np.quantile(tie.expected, np.linspace(0, 1, bins + 1)))
    place = np.clip(np.searchsorted(edges, tie.expected, side="right") - 1, 0, len(edges) - 2)
    weight = 1 / (tie.variance + np.median(tie.variance) + 1e-6)
    rows = [
        (
            float(np.average(tie.expected[here], weights=weight[here])),
            _weighted_median(tie.grey[here], weight[here]),
            float(weight[here].sum()),
        )
        for here in (place == k for k in range(len(edges) - 1))
        if here.any()
    ]
    expected, tones, weights = np.array(rows).T
    fit = IsotonicRegression(increasing=rising).fit(expected, tones, sample_weight=weights)
    return _distinct(expected, fit.predict(expected), weights)


def _distinct(
    expected: NDArray[np.float64], tones: NDArray[np.float64], weights: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """One knot of each level of a monotone fit, at its middle."""
    starts = np.flatnonzero(np.diff(tones, prepend=np.nan) != 0)
    total = np.add.reduceat(weights, starts)
    return np.add.reduceat(expected * weights, starts) / total, tones[starts]


def _weighted_median(values: NDArray[np.float64], weights: NDArray[np.float64]) -> float:
    order = np.argsort(values)
    reached = np.cumsum(weights[order])
    return float(values[order][np.searchsorted(reached, reached[-1] / 2)])


def _left_about(curve: ToneCurve, tie: _Tie) -> float:
    """Standard deviation of grey values about the curve, less what the expectation is off by."""
    left = np.abs(tie.grey - curve.grey_of(tie.expected))
    total = (_TO_SD * float(np.median(left[np.isfinite(left)]))) ** 2
    step = np.sqrt(tie.variance)
    slope = (curve.grey_of(tie.expected + step) - curve.grey_of(tie.expected - step)) / 2
    owned = float(np.nanmedian(slope**2))
    return math.sqrt(max(total - owned, total / 4))
