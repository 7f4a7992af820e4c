"""Since when a place holds something: a change point in what its images say.

A place is without the thing, then with it, and stays so: thaw slumps do not vanish within decades.
What can be told is between which two images it came; every such gap gets its probability, and
within a gap all days are alike. A cloudy image says little, one that is hidden says nothing.

Dates of one place err together: the same rock looks like a slump in every image. Evidence is
therefore taken as normal, a mean of +D/2 where the thing is and of -D/2 where it is not and a
variance of D (any normal score whose log-likelihood ratio is calibrated is so), of which a share,
the correlation, is one offset of the place. The offset is integrated out in closed form. With it,
many dates that all say "present" say less, and a change from one date to the next says more.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from geoseg.errors import ConfigError, LabelError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from geoseg.presence.evidence import DatedEvidence

__all__ = [
    "DateErrors",
    "FirstAppearance",
    "FirstAppearances",
    "OnsetPrior",
    "first_appearances",
    "fit_date_errors",
]

_LOW, _HIGH = 0.05, 0.95  # of the credible interval
_MOST_CORRELATED = 0.95  # beyond it nothing is left that differs between dates


@dataclass(frozen=True, slots=True, kw_only=True)
class OnsetPrior:
    """How often the thing comes to a place, before any image is looked at.

    Both are assumptions, weak beside a clear image. The years of an appearance hardly depend on
    `per_year`; how readily one is put before the first image depends on `years_before`. It is less
    than the decades that a slump stays open because slumps have become more frequent: sixtyfold
    from 1984 to 2015 on Banks Island (Lewkowicz and Way 2019, Nature Communications 10, 1329).
    """

    per_year: float = 1e-4  # share of the places without it that get it in a year
    years_before: float = 10.0  # the time before the first image counts as this many such years

    def __post_init__(self) -> None:
        if not 0 < self.per_year < math.inf:
            raise ConfigError(
                f"{self.per_year:g} appearances a year; give a number above 0, such as 1e-4."
            )
        if not 0 < self.years_before < math.inf:
            raise ConfigError(
                f"{self.years_before:g} years before the first image; give a number above 0, such "
                "as 10."
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class DateErrors:
    """How the evidence of dates errs: scale * (evidence - centre) is calibrated."""

    separation: float = 9.0  # D, its variance and twice its mean; matters where dates correlate
    correlation: float = 0.0  # share of D that the dates of a place have in common
    centre: float = 0.0
    scale: float = 1.0  # below 1 where the evidence is too sure of itself

    def __post_init__(self) -> None:
        if not (self.separation > 0 and self.scale > 0):
            raise ConfigError(
                f"A separation of {self.separation:g} and a scale of {self.scale:g} do not tell "
                "present from absent; both are above 0."
            )
        if not 0 <= self.correlation < 1:
            raise ConfigError(
                f"Dates correlate by {self.correlation:g}; give a share from 0 to below 1."
            )


class FirstAppearance(NamedTuple):
    """When something came to a place, given that it has; decimal years, None where not known."""

    after: float | None  # not yet in this image; None: perhaps before the first one
    until: float | None  # by this image
    probability_present: float  # by the last image; NaN where no image is valid
    year: float | None  # posterior median; None where that lies before the first image
    low: float | None  # 5 %; None where that lies before the first image
    high: float | None  # 95 %


@dataclass(frozen=True, slots=True, kw_only=True)
class FirstAppearances:
    """`FirstAppearance` of N places as arrays (N,), NaN where there is nothing to tell."""

    after: NDArray[np.float64]
    until: NDArray[np.float64]
    probability_present: NDArray[np.float64]
    year: NDArray[np.float64]
    low: NDArray[np.float64]
    high: NDArray[np.float64]

    def __getitem__(self, place: int) -> FirstAppearance:
        """Of one place."""
        years = (self.after, self.until, self.year, self.low, self.high)
        after, until, year, low, high = (
            None if np.isnan(column[place]) else float(column[place]) for column in years
        )
        return FirstAppearance(
            after, until, float(self.probability_present[place]), year, low, high
        )


def first_appearances(
    evidence: DatedEvidence,
    *,
    prior: OnsetPrior | None = None,
    errors: DateErrors | None = None,
    present: NDArray[np.bool_] | None = None,
) -> FirstAppearances:
    """When the thing came to each of N places, with credible intervals of 90 %.

    `after` and `until` are the images that bound the interval from `low` to `high`. Where it may
    have been there before the first image (more than 5 %), `after` and `low` are NaN.

    Args:
        evidence: of the images of places.
        prior: how often it comes; `OnsetPrior()` when None.
        errors: of the evidence; calibrated and independent when None.
        present: the places (N,) that are held to have it and get a year; when None those with a
            probability of at least 1/2. The others get NaN, since they have no first appearance.
    """
    used = evidence.used()
    seen = np.diff(used.offsets) > 0
    gaps = _gaps(used, prior or OnsetPrior(), errors or DateErrors())
    chance = np.full(evidence.places, np.nan)
    chance[seen] = gaps.present
    held = chance >= 0.5 if present is None else np.asarray(present) & seen
    low, middle, high = (gaps.quantile(share) for share in (_LOW, 0.5, _HIGH))
    columns = {
        "after": gaps.begins(low.gap),
        "until": used.years[high.gap],
        "year": middle.year,
        "low": low.year,
        # Before the first image: by the first image, at the latest.
        "high": np.where(np.isnan(high.year), used.years[high.gap], high.year),
    }
    spread = {name: np.full(evidence.places, np.nan) for name in columns}
    for name, column in columns.items():
        spread[name][seen] = column
        spread[name][~held] = np.nan
    return FirstAppearances(probability_present=chance, **spread)


def fit_date_errors(evidence: DatedEvidence, present: NDArray[np.bool_]) -> DateErrors:
    """How dates err, by the moments of labelled places.

    Of places that are absent all dates count; of those that are present the last valid one, since
    earlier ones may show the ground before. The correlation is that of classes with unequal numbers
    of members in an analysis of variance (Donner 1986, International Statistical Review 54, 67-82).

    Args:
        evidence: of the images of labelled places.
        present: whether it was there by the last image (N,).

    Raises:
        LabelError: too few places with valid images, or evidence that does not tell them apart.
    """
    used = evidence.used()
    counts = np.diff(used.offsets)
    absent = np.repeat(~present, counts)
    last = used.offsets[1:][present & (counts > 0)] - 1
    if absent.sum() < 2 or len(last) < 2:
        raise LabelError(
            f"{len(last)} present places and {absent.sum()} dates of absent ones are too few to "
            "tell how dates err; label more."
        )
    weights = used.validity
    low = float(np.average(used.evidence[absent], weights=weights[absent]))
    high = float(np.average(used.evidence[last], weights=weights[last]))
    variance, correlation = _variance(used.evidence[absent], weights[absent], used.owners[absent])
    if not (high > low and variance > 0):
        raise LabelError(
            f"The evidence is {high:.3g} where it is present and {low:.3g} where it is not, and so "
            "does not tell them apart; train longer, or check the labels."
        )
    return DateErrors(
        separation=(high - low) ** 2 / variance,
        correlation=correlation,
        centre=(high + low) / 2,
        scale=(high - low) / variance,
    )


class _Quantile(NamedTuple):
    """Of the time of appearance of places with valid images."""

    gap: NDArray[np.int64]  # the image that ends the gap it lies in
    year: NDArray[np.float64]  # NaN before the first image


class _Gaps(NamedTuple):
    """How likely the thing came between an image and the one before, given that it came."""

    years: NDArray[np.float64]  # (M,) of the images, oldest first in each place
    share: NDArray[np.float64]  # (M,) sums to 1 over each place
    before: NDArray[np.float64]  # (M,) the share of earlier gaps
    first: NDArray[np.int64]  # (n,) image of each place
    present: NDArray[np.float64]  # (n,) probability that it came at all

    def begins(self, gap: NDArray[np.int64]) -> NDArray[np.float64]:
        """The year of the image that begins one gap of each place, NaN for the first gap."""
        years = self.years[np.maximum(gap - 1, 0)]
        return np.where(gap > self.first, years, np.nan)

    def quantile(self, share: float) -> _Quantile:
        """The time by which it came with this probability."""
        earlier = np.add.reduceat((self.before < share).astype(np.int64), self.first)
        gap = self.first + earlier - 1 if len(self.first) else self.first
        begin = self.begins(gap)
        part = np.clip((share - self.before[gap]) / self.share[gap], 0, 1)
        return _Quantile(gap, begin + part * (self.years[gap] - begin))


def _gaps(used: DatedEvidence, prior: OnsetPrior, errors: DateErrors) -> _Gaps:
    counts = np.diff(used.offsets)
    first = used.offsets[:-1][counts > 0]
    counts = counts[counts > 0]
    place = np.repeat(np.arange(len(first)), counts)
    if not len(first):
        none = np.empty(0)
        return _Gaps(none, none, none, first, none)
    since, never = _log_prior(used.years, first, counts, prior)
    since += _log_likelihood(used, first, counts, errors)
    most = np.maximum(np.maximum.reduceat(since, first), never)
    weight = np.exp(since - most[place])
    total = np.add.reduceat(weight, first)
    never = np.exp(never - most)
    # A total of 0 is one that underflows beside never; of its gaps the likeliest is still known.
    own = np.maximum.reduceat(since, first)
    weight = np.exp(since - own[place])
    share = weight / np.add.reduceat(weight, first)[place]
    return _Gaps(used.years, share, _before(share, first, place), first, total / (total + never))


def _log_prior(
    years: NDArray[np.float64],
    first: NDArray[np.int64],
    counts: NDArray[np.int64],
    prior: OnsetPrior,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Logs of how likely it comes in the gap before each image (M,), and never (n,)."""
    gap = np.diff(years, prepend=0.0)
    gap[first] = prior.years_before
    waited = years - np.repeat(years[first], counts) + prior.years_before
    with np.errstate(divide="ignore"):  # two images of one moment have no time between them
        comes = np.log(-np.expm1(-prior.per_year * gap))
    return comes - prior.per_year * (waited - gap), -prior.per_year * waited[first + counts - 1]


def _log_likelihood(
    used: DatedEvidence,
    first: NDArray[np.int64],
    counts: NDArray[np.int64],
    errors: DateErrors,
) -> NDArray[np.float64]:
    """Log of how much likelier all images are with the thing since each image than without it.

    Of two normal distributions with the covariance D ((1 - r) / validity on the diagonal, r
    everywhere), r the correlation, inverted by Sherman and Morrison. Without correlation it is the
    sum of the evidence since then.
    """
    shared = errors.correlation
    calibrated = errors.scale * (used.evidence - errors.centre)
    above = calibrated + errors.separation / 2  # above what is expected where it is absent
    seen = _since(used.validity, first, counts)
    rise = _since(used.validity * above, first, counts)
    every = np.repeat(seen[first], counts)
    offset = shared / (1 - shared + shared * every)
    found = rise - offset * seen * np.repeat(rise[first], counts)
    expected = errors.separation / 2 * (seen - offset * seen**2)
    return (found - expected) / (1 - shared)


def _since(
    values: NDArray[np.float64], first: NDArray[np.int64], counts: NDArray[np.int64]
) -> NDArray[np.float64]:
    """Sums of values (M,) over each image and the later ones of its place."""
    total = np.cumsum(values)
    ends = np.repeat(total[first + counts - 1], counts)
    return np.asarray(ends - total + values)


def _before(
    share: NDArray[np.float64], first: NDArray[np.int64], place: NDArray[np.int64]
) -> NDArray[np.float64]:
    total = np.cumsum(share) - share
    # Rounding leaves a first gap that begins a little off 0.
    return np.maximum(total - total[first][place], 0)


def _variance(
    values: NDArray[np.float64], weights: NDArray[np.float64], groups: NDArray[np.int64]
) -> tuple[float, float]:
    """Variance of values of weight 1 in groups, and the share of it that is between groups.

    A value of weight w has 1/w times the variance within its group.
    """
    _, group, counts = np.unique(groups, return_inverse=True, return_counts=True)
    mass = np.bincount(group, weights)
    means = np.bincount(group, weights * values) / mass
    centre = float(np.average(values, weights=weights))
    if len(counts) < 2 or len(values) == len(counts):
        # No group with two members tells what they have in common.
        return float((weights * (values - centre) ** 2).mean()), 0.0
    within = float((weights * (values - means[group]) ** 2).sum()) / (len(values) - len(counts))
    between = float((mass * (means - centre) ** 2).sum()) / (len(counts) - 1)
    members = float(mass.sum() - (mass**2).sum() / mass.sum()) / (len(counts) - 1)
    common = max(0.0, (between - within) / members)
    whole = common + within
    return whole, min(_MOST_CORRELATED, common / whole) if whole > 0 else 0.0
