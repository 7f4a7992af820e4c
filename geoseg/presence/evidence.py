"""What the images of places say, each by itself: the material of first appearance."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from geoseg.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

__all__ = ["DatedEvidence", "require_share"]


@dataclass(frozen=True, slots=True, kw_only=True)
class DatedEvidence:
    """The images of N places, M in all: those of place n are offsets[n] to offsets[n + 1].

    A place may have any number of images, also none, in any order.
    """

    years: NDArray[np.float64]  # (M,) decimal years
    # (M,) log of how much likelier what is seen is where the thing is present than where it is not
    evidence: NDArray[np.float64]
    validity: NDArray[np.float64]  # (M,) 0 to 1; 0 says nothing, whatever stands in evidence
    offsets: NDArray[np.int64]  # (N + 1,)

    def __post_init__(self) -> None:
        if not len(self.years) == len(self.evidence) == len(self.validity) == self.offsets[-1]:
            raise ValueError(
                f"{len(self.years)} years, {len(self.evidence)} values of evidence and "
                f"{len(self.validity)} of validity for {self.offsets[-1]} images."
            )
        if not ((self.validity >= 0) & (self.validity <= 1)).all():
            raise ValueError("The validity of an image is a share from 0 to 1.")
        used = self.validity > 0
        if not (np.isfinite(self.evidence[used]).all() and np.isfinite(self.years[used]).all()):
            raise ValueError("An image that is valid has a year and finite evidence.")

    @classmethod
    def of_places(
        cls, places: Sequence[tuple[Sequence[float], Sequence[float], Sequence[float]]]
    ) -> DatedEvidence:
        """Of years, evidence and validity of the images of each place."""
        columns = zip(*places, strict=True) if places else ((), (), ())
        years, evidence, validity = (
            np.concatenate([np.asarray(one, dtype=np.float64) for one in (*column, ())])
            for column in columns
        )
        counts = [len(place[0]) for place in places]
        return cls(
            years=years,
            evidence=evidence,
            validity=validity,
            offsets=np.concatenate([[0], np.cumsum(counts, dtype=np.int64)]),
        )

    @property
    def places(self) -> int:
        """How many."""
        return len(self.offsets) - 1

    @property
    def owners(self) -> NDArray[np.int64]:
        """The number (M,) of the place of each image."""
        return np.repeat(np.arange(self.places), np.diff(self.offsets))

    def used(self) -> DatedEvidence:
        """The images that say something, those of each place oldest first."""
        owners = self.owners
        order = np.flatnonzero(self.validity > 0)
        back = (np.diff(self.years[order]) < 0) & (np.diff(owners[order]) == 0)
        if back.any():  # most come in order, and sorting costs more than all that follows
            order = order[np.lexsort((self.years[order], owners[order]))]
        counts = np.bincount(owners[order], minlength=self.places)
        return DatedEvidence(
            years=self.years[order],
            evidence=self.evidence[order],
            validity=self.validity[order],
            offsets=np.concatenate([[0], np.cumsum(counts)]).astype(np.int64),
        )


def require_share(what: str, value: float) -> None:
    """Refuse a share that has no logit.

    Raises:
        ConfigError: it is not above 0 and below 1.
    """
    if not 0 < value < 1:
        raise ConfigError(f"{what} is {value:g}; give a number above 0 and below 1.")
