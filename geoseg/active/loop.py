"""A whole labelling, simulated: propose, answer by the truth, learn, and again."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from geoseg.active.heads import HeadSettings, Scale, scale_of, train_heads
from geoseg.active.known import Known, known_classes
from geoseg.active.propose import ProposeSettings, propose
from geoseg.active.rare import rare_classes
from geoseg.errors import ConfigError, LabelError
from geoseg.metrics.detection import average_precision

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from geoseg.active.heads import Heads
    from geoseg.active.pool import Pool

__all__ = ["LabelledPool", "LoopSettings", "Worth", "full_worth", "run_loop"]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class LabelledPool:
    """A pool of which all is known, and items that test."""

    pool: Pool
    classes: NDArray[np.intp]  # (N,) 0 to K - 1; of two, 1 is the positive
    kinds: NDArray[np.intp]  # (N,) hidden kind of a positive, -1 where it has none
    tested: NDArray[np.float32]  # (T, D) embeddings of items that test
    tested_classes: NDArray[np.intp]  # (T,)
    names: tuple[str, ...]  # of the K classes

    def __post_init__(self) -> None:
        if not (len(self.pool) == len(self.classes) == len(self.kinds)):
            raise LabelError(
                f"A pool of {len(self.pool)} items has {len(self.classes)} classes; give each one."
            )
        for what, classes in (("pool", self.classes), ("test", self.tested_classes)):
            held = np.isin(self.positive, classes)
            if not held.all() or len(np.unique(classes)) < 2:
                raise LabelError(
                    f"The {what} part lacks positives or others; give both parts some of each."
                )

    @property
    def positive(self) -> list[int]:
        """The classes of interest."""
        return rare_classes(np.bincount(self.classes, minlength=len(self.names)))


@dataclass(frozen=True, slots=True, kw_only=True)
class LoopSettings:
    """How it goes."""

    batch: int = 100  # labels of a round
    rounds: int = 20
    starts: int = 5  # positives known before, all of one hidden kind where kinds are known
    heads: HeadSettings = field(default_factory=HeadSettings)

    def __post_init__(self) -> None:
        if self.batch < 1 or self.rounds < 1 or self.starts < 0:
            raise ConfigError(
                f"{self.rounds} rounds of {self.batch} labels after {self.starts} starts are no "
                "labelling; give 1 or more rounds and labels, and 0 or more starts."
            )


class Worth(NamedTuple):
    """What so many labels are worth."""

    labels: int
    found: int  # positives with a label
    recall: float  # share of the positives of the pool that have one
    worst_recall: float  # of the hidden kind of which the smallest share is found
    average_precision: float  # on items that test; over positive classes; chance without heads
    balanced_accuracy: float  # on items that test


def run_loop(
    labelled: LabelledPool, strategy: str, settings: LoopSettings, *, seed: int
) -> list[Worth]:
    """What labels are worth after each round (rounds + 1,), the first before any.

    Args:
        labelled: pool and truth.
        strategy: of `geoseg.active.propose.STRATEGIES`.
        settings: of the rounds.
        seed: of the starts, of what is drawn and of the heads.

    Raises:
        ConfigError: an unknown strategy.
    """
    scale = scale_of(labelled.pool)
    rows = _starts(labelled, settings.starts, np.random.default_rng([seed, 7]))
    heads: Heads | None = None
    worths = [_worth(labelled, rows, heads)]
    for number in range(settings.rounds):
        wanted = ProposeSettings(strategy=strategy, count=settings.batch, seed=seed)
        drawn = propose(labelled.pool, _known(labelled, rows), heads, wanted)
        new = labelled.pool.positions([one.item for one in drawn])
        rows = np.concatenate([rows, new])
        heads = _learn(labelled, rows, scale, settings.heads, seed=1000 * seed + number)
        worths.append(_worth(labelled, rows, heads))
    return worths


def full_worth(labelled: LabelledPool, heads: HeadSettings, *, seed: int) -> Worth:
    """What labels of the whole pool are worth."""
    rows = np.arange(len(labelled.pool))
    learned = _learn(labelled, rows, scale_of(labelled.pool), heads, seed=seed)
    return _worth(labelled, rows, learned)


def _starts(labelled: LabelledPool, count: int, rng: np.random.Generator) -> NDArray[np.intp]:
    rows = np.flatnonzero(np.isin(labelled.classes, labelled.positive))
    kinds = labelled.kinds[rows]
    if (kinds >= 0).any():
        rows = rows[kinds == rng.choice(np.unique(kinds[kinds >= 0]))]
    return rng.permutation(rows)[:count]


def _known(labelled: LabelledPool, rows: NDArray[np.intp]) -> Known:
    return known_classes(rows, labelled.classes[rows], len(labelled.names))


def _learn(
    labelled: LabelledPool,
    rows: NDArray[np.intp],
    scale: Scale,
    settings: HeadSettings,
    *,
    seed: int,
) -> Heads | None:
    """Heads, once two classes are known."""
    known = _known(labelled, rows)
    if len(np.unique(labelled.classes[rows])) < 2:
        return None
    embeddings = labelled.pool.embeddings(rows)
    return train_heads(embeddings, known.targets, settings, seed, scale=scale)


def _worth(labelled: LabelledPool, rows: NDArray[np.intp], heads: Heads | None) -> Worth:
    count = len(labelled.names)
    positive = labelled.positive
    present = np.isin(labelled.classes, positive)
    has = np.zeros(len(present), dtype=bool)
    has[rows] = True
    kinds = [labelled.kinds == kind for kind in np.unique(labelled.kinds[present]) if kind >= 0]
    recalls = [float(has[present & kind].mean()) for kind in kinds]
    recall = float(has[present].mean())
    truth = labelled.tested_classes
    chances = np.full((len(truth), count), 1 / count)
    told = chances if heads is None else heads.probabilities(labelled.tested)
    right = told.argmax(axis=1) == truth
    return Worth(
        labels=len(rows),
        found=int(has[present].sum()),
        recall=recall,
        worst_recall=min(recalls, default=recall),
        average_precision=float(
            np.mean([average_precision(told[:, k], truth == k) for k in positive])
        ),
        balanced_accuracy=float(np.mean([right[truth == k].mean() for k in np.unique(truth)])),
    )
