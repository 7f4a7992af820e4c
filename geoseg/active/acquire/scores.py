"""How much a label of each item is worth, from the class probabilities it has.

**Convention:** the higher, the more worth a label. Probabilities are along the last axis and sum
to 1.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy.special import entr

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["bald", "entropy", "least_confidence", "margin"]


def entropy(probabilities: NDArray[np.floating]) -> NDArray[np.float64]:
    """Entropy (N,) of (N, K) in nats, 0 to ln K (Shannon 1948; for queries: Settles 2009).

    A class of probability 0 adds nothing. For (1/2, 1/2) it is 0.693.
    """
    return np.asarray(entr(probabilities.astype(np.float64)).sum(axis=-1))


def margin(probabilities: NDArray[np.floating]) -> NDArray[np.float64]:
    """One minus the lead (N,) of the likeliest class over the second, of (N, K >= 2): 0 to 1.

    Scheffer, Decomain and Wrobel 2001, Active hidden Markov models for information extraction.
    """
    second, first = np.moveaxis(np.partition(probabilities.astype(np.float64), -2)[..., -2:], -1, 0)
    return np.asarray(1 - (first - second))


def least_confidence(probabilities: NDArray[np.floating]) -> NDArray[np.float64]:
    """One minus the probability (N,) of the likeliest class of (N, K): 0 to 1 - 1 / K.

    Lewis and Gale 1994, A sequential algorithm for training text classifiers.
    """
    return np.asarray(1 - probabilities.astype(np.float64).max(axis=-1))


def bald(members: NDArray[np.floating]) -> NDArray[np.float64]:
    """What members of an ensemble disagree by (N,), of (M, N, K), in nats: 0 to ln M and ln K.

    Entropy of their mean minus the mean of their entropies: the mutual information of class and
    model (Houlsby et al. 2011, Bayesian active learning for classification and preference learning;
    Gal, Islam and Ghahramani 2017 for networks). An item that all members call a toss-up has none.
    """
    given = members.astype(np.float64)
    # Below 0 by rounding alone, where all agree.
    return np.asarray(np.maximum(entropy(given.mean(axis=0)) - entropy(given).mean(axis=0), 0))
