"""Years of single cells: what a classifier of land cover learns from and is asked about."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from geoseg.errors import LabelError
from geoseg.labels import IGNORE
from geoseg.landcover.ground import parcels_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray
    from torch import Tensor

    from geoseg.landcover.ground import LabelledGround

__all__ = ["CellYears", "Samples", "cell_years", "draw_samples", "split_by_parcel"]

_YEAR_DAYS = 365.25
_SAME_DAY = 1.0  # by which the same date of other years differs


@dataclass(frozen=True, slots=True, kw_only=True)
class CellYears:
    """Variables V on days D of N cells."""

    days: tuple[float, ...]  # since 1970
    variables: tuple[str, ...]
    mean: Tensor  # (N, D, V)
    sd: Tensor  # (N, D, V)
    validity: Tensor  # (N, D, V)

    def __len__(self) -> int:
        return len(self.mean)

    @property
    def day_of_year(self) -> Tensor:
        """(D,), 0 to 365.25: one year is told in the terms of another."""
        return torch.tensor(self.days, dtype=torch.float64).remainder(_YEAR_DAYS).float()

    def take(self, index: NDArray[np.intp] | NDArray[np.bool_] | slice) -> CellYears:
        """Some of the cells."""
        chosen = index if isinstance(index, slice) else torch.from_numpy(index)
        return CellYears(
            days=self.days,
            variables=self.variables,
            mean=self.mean[chosen],
            sd=self.sd[chosen],
            validity=self.validity[chosen],
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Samples:
    """Cells whose class is known."""

    years: CellYears
    label: NDArray[np.int64]  # (N,) index of a class
    parcel: NDArray[np.intp]  # (N,) number of the parcel, over all grounds

    def __len__(self) -> int:
        return len(self.label)

    def take(self, index: NDArray[np.intp] | NDArray[np.bool_]) -> Samples:
        """Some of the cells."""
        return Samples(
            years=self.years.take(index), label=self.label[index], parcel=self.parcel[index]
        )


def cell_years(ground: LabelledGround) -> CellYears:
    """The years of all cells of a ground, row by row."""
    mean, sd, validity = (
        one.flatten(2).permute(2, 0, 1) for one in (ground.mean, ground.sd, ground.validity)
    )
    return CellYears(
        days=ground.days, variables=ground.variables, mean=mean, sd=sd, validity=validity
    )


def draw_samples(
    grounds: Sequence[LabelledGround], *, per_class: int, rng: np.random.Generator
) -> Samples:
    """Cells of known classes, so many of each class at most, drawn from all grounds together.

    Cells that the pivot does not know on all days are left out.

    Raises:
        LabelError: none is known, or grounds of other days of the year or other variables.
    """
    first = grounds[0]
    for ground in grounds:
        if not _are_alike(ground, first):
            raise LabelError(
                f"Grounds of {len(ground.days)} days of {', '.join(ground.variables)} and of "
                f"{len(first.days)} days of {', '.join(first.variables)} cannot be learned from "
                "together; ask the pivot for the same days."
            )
    label = np.concatenate([np.where(g.known, g.land_cover, IGNORE).ravel() for g in grounds])
    chosen = _some_of_each(label, per_class, rng)
    if not len(chosen):
        raise LabelError("No cell has a class to learn from; give labels that lie on the pivot.")
    parcels = _numbered([parcels_of(g.land_cover).ravel() for g in grounds])
    begin, years = 0, []
    for ground in grounds:
        end = begin + ground.land_cover.size
        years.append(cell_years(ground).take(chosen[(chosen >= begin) & (chosen < end)] - begin))
        begin = end
    together = CellYears(
        days=first.days,
        variables=first.variables,
        mean=torch.cat([one.mean for one in years]),
        sd=torch.cat([one.sd for one in years]),
        validity=torch.cat([one.validity for one in years]),
    )
    return Samples(years=together, label=label[chosen].astype(np.int64), parcel=parcels[chosen])


def split_by_parcel(
    samples: Samples, *, share: float, rng: np.random.Generator
) -> tuple[Samples, Samples]:
    """Samples to teach by, and those of about this share of the parcels of each class.

    A parcel goes to one side as a whole. Of a class with one parcel, that one teaches.
    """
    held_out: list[int] = []
    for one in np.unique(samples.label):
        parcels = rng.permutation(np.unique(samples.parcel[samples.label == one]))
        held_out.extend(parcels[: round(share * len(parcels))] if len(parcels) > 1 else [])
    apart = np.isin(samples.parcel, held_out)
    return samples.take(~apart), samples.take(apart)


def _are_alike(one: LabelledGround, other: LabelledGround) -> bool:
    """Whether variables are the same, and days of the year, which may be of other years."""
    if one.variables != other.variables or len(one.days) != len(other.days):
        return False
    apart = np.remainder(np.subtract(one.days, other.days), _YEAR_DAYS)
    return bool((np.minimum(apart, _YEAR_DAYS - apart) <= _SAME_DAY).all())


def _some_of_each(
    label: NDArray[np.uint8], most: int, rng: np.random.Generator
) -> NDArray[np.intp]:
    chosen = [
        rng.permutation(np.flatnonzero(label == one))[:most]
        for one in np.setdiff1d(label, [IGNORE])
    ]
    return np.sort(np.concatenate(chosen)) if chosen else np.empty(0, dtype=np.intp)


def _numbered(parcels: Sequence[NDArray[np.intp]]) -> NDArray[np.intp]:
    """Numbers that differ from ground to ground."""
    begin, found = 0, []
    for one in parcels:
        found.append(np.where(one >= 0, one + begin, -1))
        begin += int(one.max(initial=-1)) + 1
    return np.concatenate(found)
