"""The places of a step: as many with as without, however rare they are, the same in every run."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from torch.utils.data import DataLoader, Dataset

from geoseg.chips import Place, PlaceBatch, stack_places
from geoseg.errors import LabelError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from geoseg.config import FewLabelSettings, PresenceRecipe

__all__ = ["PlaceSamples", "choose_labels", "shown_of_step", "steps_of", "unlabelled_steps_of"]

_GUESSED = 0.5  # share of a step


@dataclass(frozen=True, slots=True, kw_only=True)
class PlaceSamples:
    """Places to learn from, and what is known of each before any is read."""

    places: Sequence[Place]
    present: NDArray[np.float32]
    """(N,) 1 present, 0 absent, between them a guess, NaN unlabelled; over that of a place."""

    def __post_init__(self) -> None:
        if len(self.places) != len(self.present):
            raise LabelError(
                f"There are {len(self.places)} places and {len(self.present)} labels; give one "
                "label a place, NaN where nobody has looked."
            )

    @property
    def positives(self) -> NDArray[np.intp]:
        """Numbers of the places that hold it."""
        return np.flatnonzero(self.present == 1)

    @property
    def negatives(self) -> NDArray[np.intp]:
        """Numbers of the places that do not."""
        return np.flatnonzero(self.present == 0)

    @property
    def guessed(self) -> NDArray[np.intp]:
        """Numbers of the places that nobody has looked at, but of which something is said."""
        return np.flatnonzero((self.present > 0) & (self.present < 1))

    @property
    def unlabelled(self) -> NDArray[np.intp]:
        """Numbers of the places that nobody has looked at."""
        return np.flatnonzero(np.isnan(self.present))


def choose_labels(samples: PlaceSamples, settings: FewLabelSettings, *, seed: int) -> PlaceSamples:
    """The samples with the labels that a recipe grants, the others as unlabelled.

    The share of positives among them is that of all labels, with at least two of each kind.

    Raises:
        LabelError: a kind has no example.
    """
    positives, negatives = samples.positives, samples.negatives
    for kind, found in (("present", positives), ("absent", negatives)):
        if len(found) == 0 and not (kind == "absent" and _positives_suffice(settings)):
            raise LabelError(f"No place is labelled {kind}; label at least two of each kind.")
    present = samples.present.copy()
    total = len(positives) + len(negatives)
    if settings.labels is not None and settings.labels < total:
        rng = np.random.default_rng([seed, settings.labels])
        wanted = round(settings.labels * len(positives) / total)
        count = min(max(wanted, 2), settings.labels - min(2, len(negatives)), len(positives))
        kept = [
            rng.permutation(positives)[:count],
            rng.permutation(negatives)[: settings.labels - count],
        ]
        present[:] = np.nan
        present[np.concatenate(kept)] = samples.present[np.concatenate(kept)]
    if settings.unlabelled == "positive_unlabelled":
        present[present == 0] = np.nan
    return PlaceSamples(places=samples.places, present=present)


def shown_of_step(samples: PlaceSamples, recipe: PresenceRecipe) -> tuple[int, int]:
    """How many places with a label a step shows: without what is looked for, and with it."""
    settings = recipe.learning
    more = round(settings.batch * _GUESSED) if len(samples.guessed) else 0
    labelled = settings.batch - more
    count = min(max(round(labelled * settings.present_share), 1), labelled - 1)
    return labelled - count, count


def steps_of(samples: PlaceSamples, recipe: PresenceRecipe, *, first: int) -> Iterator[PlaceBatch]:
    """The places of each step from `first` on, labels as the samples have them.

    Step `i` depends on the seed and `i` alone. Of positives and unlabelled ones when there are no
    negatives. Half of a step are places with a guess, where there are any: half of them the oftener
    the likelier they are, however few those are.

    Raises:
        LabelError: no positives, or nothing beside them.
    """
    settings = recipe.learning
    positives, guessed = samples.positives, samples.guessed
    others = samples.negatives if len(samples.negatives) else samples.unlabelled
    if len(positives) == 0 or len(others) == 0:
        raise LabelError(
            f"There are {len(positives)} places with it and {len(others)} without it or unlabelled "
            "to learn from; label at least two of each kind."
        )
    absent, count = shown_of_step(samples, recipe)
    more = settings.batch - absent - count
    said = samples.present[guessed].astype(np.float64)
    share = (said + said.mean()) / (2 * said.sum()) if len(guessed) else None

    def draw(step: int) -> NDArray[np.intp]:
        rng = np.random.default_rng([recipe.seed, 0, step])
        known = [rng.choice(positives, count), rng.choice(others, absent)]
        return np.concatenate([*known, rng.choice(guessed, more, p=share)] if more else known)

    yield from _loader(samples, (draw(step) for step in range(first, settings.steps)))


def unlabelled_steps_of(
    samples: PlaceSamples, recipe: PresenceRecipe, *, first: int, steps: int, every: bool
) -> Iterator[PlaceBatch]:
    """As many places without their labels.

    Args:
        samples: drawn from.
        recipe: the size of a batch and the seed.
        first: step.
        steps: the end of the steps.
        every: whether labelled places are drawn from too.
    """
    pool = np.arange(len(samples.places)) if every else samples.unlabelled
    if len(pool) == 0:
        raise LabelError(
            "No place is unlabelled; lower few_labels.labels, or set few_labels.unlabelled to "
            "left_out."
        )

    def draw(step: int) -> NDArray[np.intp]:
        return np.random.default_rng([recipe.seed, 1, step]).choice(pool, recipe.learning.batch)

    yield from _loader(samples, (draw(step) for step in range(first, steps)))


class _Drawn(Dataset[tuple[Place, float]]):
    def __init__(self, samples: PlaceSamples) -> None:
        self._samples = samples

    def __getitem__(self, number: int) -> tuple[Place, float]:
        return self._samples.places[number], float(self._samples.present[number])


def _loader(
    samples: PlaceSamples, draws: Iterator[NDArray[np.intp]]
) -> DataLoader[tuple[Place, float]]:
    return DataLoader(_Drawn(samples), batch_sampler=draws, collate_fn=_stack)  # type: ignore[arg-type]  # any iterable of batches does


def _stack(drawn: Sequence[tuple[Place, float]]) -> PlaceBatch:
    batch = stack_places([place for place, _ in drawn])
    return batch._replace(present=batch.present.new_tensor([label for _, label in drawn]))


def _positives_suffice(settings: FewLabelSettings) -> bool:
    return settings.unlabelled == "positive_unlabelled"
