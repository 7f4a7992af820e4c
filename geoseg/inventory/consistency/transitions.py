"""How the ground changes from class to class, and what that says of maps of many dates."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy.linalg import expm

from geoseg.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from geoseg.labels import ClassScheme

__all__ = [
    "Transitions",
    "evidence_of_chances",
    "evidence_of_classes",
    "smooth_classes",
    "transitions_of",
]

# Mean years until one class becomes another, were that the only change open to it. They are those
# of ground near a margin: far from one all dates agree, and no rate matters there. A class map
# speaks at most 34 to 1, so a change that the last date alone shows is believed when the gap before
# it is longer than about a 34th of these years. What follows a # is the mean dwell in the class.
_YEARS_UNTIL: dict[str, dict[str, float]] = {
    # 100 years. Scars and lakes are what surveys look for, so that one date may show them; ice
    # rarely comes back and must be seen twice.
    "ground": {
        "thaw_slump": 200,
        "proglacial_lake": 500,
        "other_lake": 1000,
        "lake": 500,
        "clean_ice": 1000,
        "debris_ice": 1000,
        "glacier": 1000,
    },
    # 31 years at a margin that goes back 10 m a year through 30 m pixels and melts out debris.
    "clean_ice": {
        "ground": 80,
        "debris_ice": 80,
        "supraglacial_lake": 500,
        "proglacial_lake": 200,
        "lake": 200,
    },
    "glacier": {"ground": 80, "lake": 200},
    # 30 years. It insulates, so that the ice below outlasts bare ice, and it holds ponds.
    "debris_ice": {
        "ground": 120,
        "clean_ice": 400,
        "supraglacial_lake": 60,
        "proglacial_lake": 200,
        "lake": 60,
    },
    # 3 years: ponds drain through the ice and fill again from one year to the next (Miles et al.
    # 2017, Langtang), so that dates ten years apart say little of each other.
    "supraglacial_lake": {"debris_ice": 4, "clean_ice": 20, "proglacial_lake": 30, "ground": 200},
    # 110 years, held by a moraine that may break.
    "proglacial_lake": {"ground": 150, "debris_ice": 1000, "clean_ice": 2000},
    # 170 years: a hollow in rock holds its water.
    "other_lake": {"ground": 200},
    "lake": {"ground": 100, "debris_ice": 100, "clean_ice": 1000, "glacier": 200},
    # 57 years: a scar greens over in decades once its headwall rests.
    "thaw_slump": {"ground": 60},
}
_SELDOM_YEARS = 5000.0  # a pair of known classes that is not listed: not never, but no two maps say
_UNKNOWN_YEARS = 200.0  # a pair with a class of which nothing is known here

_RIGHT = 0.85  # chance that a class map without probabilities is right at a pixel
# The least that a date may say for a class, next to its best one: a map can be wrong all over, by
# its place or its season, and must not veto for certain what all others say.
_LEAST = 0.02
# Half of the prior is what the maps hold, half is even: where a class clusters it is far more
# common than on the whole map, and errors of one network at several dates are not independent.
_EVEN_SHARE = 0.5
_TINY = 1e-6  # of evidence, next to the best; its square is far from the smallest float32


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Transitions:
    """How classes follow each other on the ground: a Markov chain in continuous time."""

    rates: NDArray[np.float64]  # (K, K) a year, from row to column; rows add up to 0
    prior: NDArray[np.float64]  # (K,) how common classes are; adds up to 1

    def __post_init__(self) -> None:
        count = len(self.prior)
        if self.rates.shape != (count, count) or count < 2:
            raise ConfigError(
                f"Transitions have rates of shape {self.rates.shape} and a prior of {count} "
                "classes; give a rate for each pair of them."
            )
        between = self.rates[~np.eye(count, dtype=bool)]
        if not (between >= 0).all() or not np.allclose(self.rates.sum(axis=1), 0):
            raise ConfigError(
                "Rates of transitions are 0 or more from class to class, and each row adds up to "
                "0; set the diagonal to minus the sum of the others."
            )
        if not (self.prior > 0).all() or not np.isclose(self.prior.sum(), 1):
            raise ConfigError(
                f"The prior of the classes is {self.prior.tolist()}; give shares above 0 that add "
                "up to 1."
            )

    def over(self, years: float) -> NDArray[np.float64]:
        """Probabilities (K, K) that a class (row) is another one (column) after some years."""
        moved: NDArray[np.float64] = np.clip(expm(self.rates * years), 0, 1)
        moved /= moved.sum(axis=1, keepdims=True)
        return moved


def transitions_of(
    scheme: ClassScheme, shares: NDArray[np.float64] | Sequence[float] | None = None
) -> Transitions:
    """How the classes of a scheme follow each other, by their names.

    A name that is not known here changes at a moderate rate to and from all others.

    Args:
        scheme: the classes.
        shares: how common each is on the maps, of any sum; equally common when None.
    """
    years = [[_years_until(one, other) for other in scheme.names] for one in scheme.names]
    rates = 1 / np.array(years)
    np.fill_diagonal(rates, 0)
    np.fill_diagonal(rates, -rates.sum(axis=1))
    count = len(scheme.names)
    found = np.ones(count) if shares is None else np.asarray(shares, dtype=np.float64)
    mean = found / found.sum() if found.sum() > 0 else np.full(count, 1 / count)
    return Transitions(rates=rates, prior=(1 - _EVEN_SHARE) * mean + _EVEN_SHARE / count)


def evidence_of_chances(
    chance: NDArray[np.float32], known: NDArray[np.bool_], rules: Transitions
) -> NDArray[np.float32]:
    """What probabilities (K, H, W) of one date say for each class (K, H, W), next to the best.

    A probability holds how common its class is, which would count once a date: it is divided out
    here, and put in once by the filter. No date speaks more than 50 to 1 against a class.

    Args:
        chance: of the classes; any value where not known.
        known: (H, W), True where the date saw the ground.
        rules: hold how common classes are.
    """
    likelihood = chance / rules.prior.astype(np.float32)[:, None, None]
    likelihood /= np.maximum(likelihood.max(axis=0), _TINY)
    return np.where(known, np.maximum(likelihood, np.float32(_LEAST)), np.float32(1))


def evidence_of_classes(classes: NDArray[np.uint8], count: int) -> NDArray[np.float32]:
    """What class ids (H, W) of one date say for each of `count` classes (K, H, W).

    85 in 100 pixels are taken to be right, which is an IoU of three quarters, and the others to be
    any other class alike. 255 is none of the classes, and so says nothing.
    """
    own = classes == np.arange(count, dtype=np.uint8)[:, None, None]
    wrong = (1 - _RIGHT) / (count - 1) / _RIGHT
    return np.where(own, np.float32(1), np.float32(wrong))


def smooth_classes(
    evidence: NDArray[np.float32], years: NDArray[np.float64], rules: Transitions
) -> NDArray[np.float32]:
    """Probabilities (T, K, H, W) of the classes at each date, given all dates of a place.

    The forward-backward algorithm of a hidden Markov model, pixel by pixel; the years between dates
    count. Where no date says anything the prior is carried through time.

    Args:
        evidence: likelihoods (T, K, H, W) of any scale; all equal where nothing is known.
        years: (T,) of the dates, in order.
        rules: how classes follow each other.

    Raises:
        ConfigError: evidence, years and rules do not fit each other, or years run backward.
    """
    dates, count, height, width = evidence.shape
    _check(evidence, years, rules)
    said = _next_to_best(evidence).reshape(dates, count, height * width)
    steps = [rules.over(gap).astype(np.float32) for gap in np.diff(years)]
    found = np.empty_like(said)
    state = rules.prior.astype(np.float32)[:, None]
    for date in range(dates):
        if date > 0:
            state = steps[date - 1].T @ state
        state = _shared(said[date] * state)
        found[date] = state
    later = np.ones_like(said[0])
    for date in range(dates - 1, -1, -1):
        found[date] = _shared(found[date] * later)
        if date > 0:
            later = _shared(steps[date - 1] @ (said[date] * later))
    return found.reshape(evidence.shape)


def _years_until(one: str, other: str) -> float:
    if one not in _YEARS_UNTIL or other not in _YEARS_UNTIL:
        return _UNKNOWN_YEARS
    return _YEARS_UNTIL[one].get(other, _SELDOM_YEARS)


def _check(evidence: NDArray[np.float32], years: NDArray[np.float64], rules: Transitions) -> None:
    dates, count = evidence.shape[:2]
    if len(years) != dates or count != len(rules.prior):
        raise ConfigError(
            f"Evidence of {dates} dates and {count} classes does not fit {len(years)} years and "
            f"transitions of {len(rules.prior)} classes; give a year for each date, and "
            "transitions of the same classes."
        )
    if (np.diff(years) < 0).any():
        raise ConfigError(f"The years {list(years)} run backward; give dates from first to last.")
    if not (evidence >= 0).all():
        raise ConfigError("Evidence is 0 or more and never NaN; give 1 for all classes for none.")


def _next_to_best(evidence: NDArray[np.float32]) -> NDArray[np.float32]:
    """Evidence over the largest at its pixel and date, never 0: 1 for all where it is all 0."""
    best = evidence.max(axis=1, keepdims=True)
    said: NDArray[np.float32] = np.divide(
        evidence, best, out=np.ones_like(evidence), where=best > 0
    )
    np.maximum(said, _TINY, out=said)
    return said


def _shared(weight: NDArray[np.float32]) -> NDArray[np.float32]:
    """Weights (K, N) that add up to 1 and stay clear of 0, where products of them would vanish."""
    shares: NDArray[np.float32] = weight / weight.sum(axis=0)
    np.maximum(shares, _TINY**2, out=shares)
    return shares
