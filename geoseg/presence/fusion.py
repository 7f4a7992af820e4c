"""Presence from several dates: evidence is added up, and hidden dates are left out.

A fixed count of sightings ("seen at least four times") takes a cloud for an absence. Here every
date counts by how much likelier its image is with the thing than without, and by how much of it was
seen (a naive Bayes classifier over dates, tempered by validity).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy.optimize import minimize_scalar
from scipy.special import logit

from geoseg.errors import ConfigError, LabelError
from geoseg.presence.evidence import require_share

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from geoseg.presence.evidence import DatedEvidence

__all__ = ["fit_rho", "fused_logits"]


def fused_logits(evidence: DatedEvidence, *, prior: float, rho: float = 1.0) -> NDArray[np.float64]:
    """Logits of presence (N,) of places, from all of their dates.

        logit(prior) + rho * sum of validity * evidence

    A date of validity 0 changes nothing, nor does the order of dates. A place without any valid
    date has the logit of the prior: nothing is known of it.

    Args:
        evidence: of the images of places.
        prior: the share of places with the thing, where the result is used.
        rho: what one date more counts, 0 to 1: below 1 where dates err together; see `fit_rho`.

    Raises:
        ConfigError: a prior or rho out of range.
    """
    require_share("The share of present places", prior)
    if not 0 <= rho <= 1:
        raise ConfigError(f"rho is {rho:g}; dates count from 0 (not at all) to 1 (independent).")
    return np.asarray(logit(prior) + rho * _sum(evidence))


def fit_rho(evidence: DatedEvidence, present: NDArray[np.bool_]) -> float:
    """The rho, 0 to 1, with the least log loss on labelled places (N,).

    Raises:
        LabelError: none of the places is present, or all are.
    """
    share = float(np.mean(present)) if len(present) else float("nan")
    if not 0 < share < 1:
        raise LabelError(
            f"{int(np.sum(present))} of {len(present)} labelled places are present; dates are "
            "weighed with places of both kinds."
        )
    total = _sum(evidence)
    sign = np.where(present, -1.0, 1.0)

    def log_loss(rho: float) -> float:
        return float(np.logaddexp(0, sign * (logit(share) + rho * total)).mean())

    # Convex in rho: a logistic regression on one number, whose intercept is known.
    return float(minimize_scalar(log_loss, bounds=(0, 1), method="bounded").x)


def _sum(evidence: DatedEvidence) -> NDArray[np.float64]:
    counted = evidence.validity > 0  # of a date that was not seen the evidence may be NaN
    weighed = np.where(counted, evidence.evidence, 0) * evidence.validity
    return evidence.sums(weighed)
