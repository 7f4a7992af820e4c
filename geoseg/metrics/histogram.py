"""The logits of a hundred million chips in 128 kB.

Counts and prevalences are means of smooth functions of the logit. To put each chip at the mean of
its bin of 0.01 changes likelihood ratios by 1e-5 of themselves, on the mean over the bin.
"""

from __future__ import annotations

import zipfile
import zlib
from tokenize import TokenError
from typing import TYPE_CHECKING

import numpy as np

from geoseg.errors import DataError
from geoseg.files import writing

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import ArrayLike, NDArray

__all__ = ["LogitHistogram"]

_END = 40.0  # where a probability is within 1e-17 of 0 or 1
_WIDTH = 0.01
_BINS = round(2 * _END / _WIDTH)
# What numpy ends in on a file that is damaged.
_UNREADABLE = (
    EOFError,
    KeyError,
    NotImplementedError,
    OSError,
    RuntimeError,
    SyntaxError,
    TokenError,
    TypeError,
    ValueError,
    zipfile.BadZipFile,
    zlib.error,
)


class LogitHistogram:
    """How many chips have which logit, in bins that are the same for all histograms.

    Holds logits of a model, or log likelihood ratios of its calibration. What is beyond -40 and 40
    goes into the outermost bins. NaN is counted apart.
    """

    def __init__(self) -> None:
        self.counts: NDArray[np.int64] = np.zeros(_BINS, dtype=np.int64)
        self.sums: NDArray[np.float64] = np.zeros(_BINS)  # of the logits in each bin
        self.missing = 0  # NaN

    @property
    def total(self) -> int:
        """How many chips have a logit."""
        return int(self.counts.sum())

    def add(self, logits: ArrayLike) -> None:
        """Count logits, of any shape."""
        z = np.asarray(logits, dtype=np.float64).ravel()
        told = np.clip(z[~np.isnan(z)], -_END, _END)
        bins = bin_of(told)
        self.missing += z.size - told.size
        self.counts += np.bincount(bins, minlength=_BINS)
        self.sums += np.bincount(bins, weights=told, minlength=_BINS)

    def merge(self, other: LogitHistogram) -> LogitHistogram:
        """The histogram of the chips of both."""
        both = LogitHistogram()
        both.counts = self.counts + other.counts
        both.sums = self.sums + other.sums
        both.missing = self.missing + other.missing
        return both

    def occupied(self) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
        """Mean logits (B,) of the bins that hold chips, rising, and how many these hold."""
        held = np.flatnonzero(self.counts)
        return self.sums[held] / self.counts[held], self.counts[held]

    def save(self, path: Path) -> None:
        """Write it as `path` (.npz), whole or not at all.

        Raises:
            OutputError: it cannot be written.
        """
        with writing(path) as aside:
            np.savez_compressed(
                aside, counts=self.counts, sums=self.sums, missing=np.int64(self.missing)
            )

    @classmethod
    def load(cls, path: Path) -> LogitHistogram:
        """Read it back.

        Raises:
            DataError: no such file, or not a histogram of geoseg.
        """
        out = cls()
        try:
            with path.open("rb") as file, np.load(file, allow_pickle=False) as held:
                counts, sums, out.missing = held["counts"], held["sums"], int(held["missing"])
            if not counts.shape == sums.shape == out.counts.shape:
                raise ValueError(f"{counts.shape} bins, not {out.counts.shape}")
        except _UNREADABLE as error:
            raise DataError(
                f"{path} is no histogram of logits ({error}); make it again from the predictions."
            ) from error
        out.counts, out.sums = counts, sums
        return out


def bin_of(logits: NDArray[np.float64]) -> NDArray[np.intp]:
    """Numbers of the bins that logits fall into; 0 is the lower edge of one."""
    bins = np.floor((np.clip(logits, -_END, _END) + _END) / _WIDTH)
    return np.minimum(bins, _BINS - 1).astype(np.intp)
