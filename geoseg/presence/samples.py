"""Labelled places to teach, to calibrate and to test by, kept apart on the ground."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from geoseg.errors import LabelError, SceneError
from geoseg.presence.packs import ImageKind, Problem, StoredPlace
from geoseg.presence.packs.pack import require_whole
from geoseg.presence.packs.pixels import Palette
from geoseg.presence.packs.read import read_stored
from geoseg.presence.packs.stored import decode_place

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from geoseg.chips import Place
    from geoseg.data.slumps import SlumpWindows
    from geoseg.presence.packs import Pack

__all__ = ["FOLDS", "Fold", "LabelledPlaces", "places_of_pack", "places_of_windows", "split_groups"]

Fold = Literal["train", "calibration", "test"]
FOLDS: tuple[Fold, ...] = ("train", "calibration", "test")

_SHARES = (0.5, 0.25, 0.25)
_GROUP_DEGREES = 0.1  # of latitude, 11 km: neighbours share their ground and their images


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelledPlaces:
    """Places with what is known of them before any is looked at."""

    places: Sequence[Place]
    present: NDArray[np.float32]  # (N,) 1 present, 0 absent, NaN where nobody has looked
    group: NDArray[np.str_]  # (N,) places of one group may show the same ground
    fold: NDArray[np.int8]  # (N,) index into FOLDS; a group is in one
    name: str  # tells them from others: the data set and what it was made by

    def part(self, fold: Fold) -> LabelledPlaces:
        """Those of one fold."""
        return self.chosen(np.flatnonzero(self.fold == FOLDS.index(fold)), fold)

    def known(self) -> LabelledPlaces:
        """Those that somebody has looked at."""
        return self.chosen(np.flatnonzero(~np.isnan(self.present)), "known")

    def chosen(self, numbers: NDArray[np.intp], which: str) -> LabelledPlaces:
        """Some of them, in this order; their name says which."""
        return LabelledPlaces(
            places=_Chosen(self.places, numbers),
            present=self.present[numbers],
            group=self.group[numbers],
            fold=self.fold[numbers],
            name=f"{self.name} {which}",
        )


class _Chosen(Sequence):  # type: ignore[type-arg]  # of Place, which is not known at run time
    def __init__(self, places: Sequence[Place], chosen: NDArray[np.intp]) -> None:
        self._places, self._chosen = places, chosen

    def __len__(self) -> int:
        return len(self._chosen)

    def __getitem__(self, number):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN204
        if isinstance(number, slice):
            return _Chosen(self._places, self._chosen[number])
        return self._places[int(self._chosen[number])]


def split_groups(
    group: NDArray[np.str_], present: NDArray[np.float32], *, seed: int
) -> NDArray[np.int8]:
    """The fold (N,) of each place: half to teach, a quarter to calibrate, a quarter to test.

    Whole groups are dealt at random, those with something and those without by themselves, so that
    each fold has its share of both, and one group at least where there are three.

    Args:
        group: of each place.
        present: of each place.
        seed: of the dealing.
    """
    rng = np.random.default_rng([seed, 5])
    names, number = np.unique(group, return_inverse=True)
    holds = np.zeros(len(names), dtype=bool)
    np.logical_or.at(holds, number, present > 0.5)
    fold = np.empty(len(names), dtype=np.int8)
    for kind in (True, False):
        members = rng.permutation(np.flatnonzero(holds == kind))
        each = min(len(members) // len(FOLDS), 1)
        counts = each + np.multiply(_SHARES, len(members) - each * len(FOLDS))
        ends = np.round(np.cumsum(counts)).astype(int)
        for index, part in enumerate(np.split(members, ends[:-1])):
            fold[part] = index
    return fold[number]


def places_of_windows(windows: SlumpWindows, *, name: str) -> LabelledPlaces:
    """Windows of images of slumps, in the folds that they were cut for."""
    return LabelledPlaces(
        places=windows,
        present=windows.present.astype(np.float32),
        group=windows.ground.astype(str),
        fold=windows.fold,
        name=name,
    )


def places_of_pack(pack: Pack, *, seed: int) -> tuple[LabelledPlaces, tuple[Problem, ...]]:
    """All places of a pack, held in memory as they are stored, and what could not be read.

    Raises:
        LabelError: not a single place is labelled.
        DataError: a shard cannot be read, or is not what it was when it was packed.
    """
    for shard in pack.shards:
        require_whole(shard)
    read = [e for s in pack.shards for e in read_stored(s.path, pack.foreign)]
    stored = [entry for entry in read if isinstance(entry, StoredPlace)]
    problems = [entry for entry in read if isinstance(entry, Problem)]
    places = _Decoded(stored, {kind: Palette(kind, px) for kind, px in pack.kinds.items()})
    problems += places.leave_out_damaged()
    present = np.array(
        [np.nan if p.present is None else float(p.present) for p in places.stored],
        dtype=np.float32,
    )
    if not np.isfinite(present).any():
        raise LabelError(
            f"No place of {pack.folder} is labelled; pack it again with --labels, or from folders "
            "present/ and absent/."
        )
    group = np.array([_group(place) for place in places.stored])
    labelled = LabelledPlaces(
        places=places,
        present=present,
        group=group,
        fold=split_groups(group, present, seed=seed),
        name=f"pack {pack.digest} {seed}",  # another seed, other folds
    )
    return labelled, tuple(problems)


class _Decoded(Sequence):  # type: ignore[type-arg]  # of Place, which is not known at run time
    """Places that are decoded when asked for: as stored they take a fraction of the memory."""

    def __init__(self, stored: list[StoredPlace], palettes: dict[ImageKind, Palette]) -> None:
        self.stored, self._palettes = stored, palettes

    def __len__(self) -> int:
        return len(self.stored)

    def __getitem__(self, number):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN204
        if isinstance(number, slice):
            return _Decoded(self.stored[number], self._palettes)
        return decode_place(self.stored[number], self._palettes)

    def leave_out_damaged(self) -> list[Problem]:
        """What is wrong with places that cannot be decoded; they are gone then."""
        problems: list[Problem] = []
        whole = []
        for place in self.stored:
            try:
                decode_place(place, self._palettes)
                whole.append(place)
            except SceneError as error:
                problems.append(Problem(place.id, str(error)))
        self.stored = whole
        return problems


def _group(place: StoredPlace) -> str:
    """The block of ground that a place lies in; its own where nobody knows."""
    if not (np.isfinite(place.lon) and np.isfinite(place.lat)):
        return place.id
    row = np.floor(place.lat / _GROUP_DEGREES)
    # As wide as it is high. By the middle of the row: by each place alone, blocks would be slanted.
    middle = np.radians((row + 0.5) * _GROUP_DEGREES)
    wide = _GROUP_DEGREES / max(np.cos(middle), _GROUP_DEGREES)
    return f"{row:.0f} {np.floor(place.lon / wide):.0f}"
