"""Rounds of a project: learn from its answers, propose, and say what was learned."""

from __future__ import annotations

import math
import shutil
from dataclasses import asdict, replace
from itertools import count
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from geoseg.active.answers import known_of, soft_labels
from geoseg.active.audits import AUDIT
from geoseg.active.estimate import round_worth
from geoseg.active.folder import HEADS, LABELS, round_folder
from geoseg.active.heads import Heads, HeadSettings, save_heads, scale_of, train_heads
from geoseg.active.propose import propose, shown_chances
from geoseg.active.record import Drawn, Proposed
from geoseg.errors import LabelError, OutputError
from geoseg.files import writing

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from geoseg.active.answers import SoftLabels
    from geoseg.active.estimate import RoundWorth
    from geoseg.active.known import Known
    from geoseg.active.pool import Pool
    from geoseg.active.project import Project
    from geoseg.active.propose import ProposeSettings

__all__ = [
    "PROPOSAL_SCHEMA",
    "Learned",
    "MadeRound",
    "labels_table",
    "learn",
    "make_round",
    "train",
]

_ASIDE = ".making"
_PROPOSAL = "proposal.parquet"
_GOLD_SHARE = 0.05  # of a round

PROPOSAL_SCHEMA = pa.schema(
    [
        ("item", pa.string()),
        ("lon", pa.float64()),
        ("lat", pa.float64()),
        ("rank", pa.int64()),  # from 1, in the order to look at
        ("why", pa.string()),
        ("inclusion_probability", pa.float64()),  # of the item in the round, by design
    ]
)


class Learned(NamedTuple):
    """What the answers of a project say, and what was learned of them."""

    labels: SoftLabels
    known: Known
    heads: Heads | None  # None until items of two classes have a label


class MadeRound(NamedTuple):
    """A round that was proposed."""

    number: int
    folder: Path
    proposed: list[Proposed]
    learned: Learned


def learn(project: Project, pool: Pool, settings: HeadSettings, *, seed: int) -> Learned:
    """Heads that have learned from all answers; those that nobody could give teach nothing.

    Args:
        project: with its answers.
        pool: of the project.
        settings: of the heads.
        seed: of the heads.

    Raises:
        ModelError: the loss is not finite.
    """
    labels = soft_labels(project.answers(), project.classes, project.gold())
    known = known_of(labels, pool)
    heads = None
    if len(known.rows) and len(np.unique(known.targets.argmax(axis=1))) > 1:
        embeddings = pool.embeddings(known.rows)
        heads = train_heads(embeddings, known.targets, settings, seed, scale=scale_of(pool))
    return Learned(labels, known, heads)


def make_round(
    project: Project,
    pool: Pool,
    settings: ProposeSettings,
    *,
    heads: HeadSettings,
    write_layer: Callable[[Path, Sequence[Proposed]], None],
) -> MadeRound:
    """Learn from what was answered, propose, write the files of the round, and record it.

    Files appear together, and before the round is recorded: whatever ends this early leaves no half
    round, and the next one takes its number. Files of a round that was not recorded get another
    name. What waits for an answer, and what nobody could tell,
    is not proposed again. One item in twenty is of known class, as long as there are such that
    nobody was asked for; nothing tells it from the others, so that it measures who answers.

    Args:
        project: that is held (`held`).
        pool: of the project.
        settings: what is proposed.
        heads: how they learn.
        write_layer: writes items as a GeoPackage to answer on.

    Raises:
        LabelError: all items were asked for.
        OutputError: a file cannot be written.
    """
    learned = learn(project, pool, heads, seed=settings.seed)
    drawn = _drawn(project, pool, learned, settings)
    if not drawn:
        raise LabelError(f"All {len(pool)} items of the pool were proposed or labelled already.")
    number = len(project.rounds()) + 1
    proposed = [Proposed(number, rank, *one) for rank, one in enumerate(drawn, start=1)]
    folder = round_folder(project.folder, number)
    aside = folder.with_name(_ASIDE)
    shutil.rmtree(aside, ignore_errors=True)
    model = "" if learned.heads is None else save_heads(aside / HEADS, learned.heads)
    _write_proposal(aside / _PROPOSAL, proposed, pool)
    write_layer(aside / "proposal.gpkg", proposed)
    try:
        _keep_unrecorded(folder)
        aside.rename(folder)
    except OSError as error:
        raise OutputError(f"{folder} cannot be written: {error.strerror}.") from error
    told = {**asdict(settings), "heads": asdict(heads)}
    project.record_round(drawn, strategy=settings.strategy, settings=told, model=model)
    return MadeRound(number, folder, proposed, learned)


def train(project: Project, pool: Pool, settings: HeadSettings, *, seed: int) -> RoundWorth:
    """Learn from all answers, say what that is worth, and record it in the last round.

    Writes heads.safetensors and labels.csv into the folder of the project.

    Args:
        project: that is held (`held`).
        pool: of the project.
        settings: of the heads.
        seed: of heads and folds.

    Raises:
        LabelError: fewer than two classes have a label.
        OutputError: a file cannot be written.
    """
    learned = learn(project, pool, settings, seed=seed)
    if learned.heads is None:
        raise LabelError(
            f"{int(learned.labels.told.sum())} items have a label, of fewer than two classes; "
            "answer more before heads can learn."
        )
    worth = round_worth(project, pool, learned.labels, settings, seed=seed)
    save_heads(project.folder / HEADS, learned.heads)
    with writing(project.folder / LABELS) as aside:
        labels_table(learned.labels, pool, project.classes).to_csv(aside, index=False)
    if rounds := project.rounds():
        project.record_metrics(rounds[-1].number, worth.figures())
    return worth


def labels_table(labels: SoftLabels, pool: Pool, classes: Sequence[str]) -> pd.DataFrame:
    """Labels as `geoseg presence head --labels` and packs take them, a row an item of the pool.

    Columns chip_id, lon, lat, present (of two classes; empty where votes are even or nobody could
    tell), class (the likeliest, empty likewise), votes, unknown, and p_CLASS for each class.
    """
    rows = pool.positions(labels.items)
    own = np.flatnonzero(rows >= 0)
    chances = labels.probabilities[own]
    best = np.nan_to_num(chances, nan=0.0)
    top = best.max(axis=1, initial=0)
    clear = ((best == top[:, None]).sum(axis=1) == 1) & (top > 0)
    likeliest = np.array(classes, dtype=object)[best.argmax(axis=1)] if len(own) else []
    named = np.where(clear, likeliest, "")
    table = pd.DataFrame(
        {
            "chip_id": [labels.items[n] for n in own],
            "lon": pool.lon[rows[own]],
            "lat": pool.lat[rows[own]],
            "class": named,
            "votes": labels.votes[own],
            "unknown": labels.unknown[own],
        }
    )
    if len(classes) == 2:
        present = {classes[0]: "false", classes[1]: "true", "": ""}
        table.insert(1, "present", [present[name] for name in named])
    for k, name in enumerate(classes):
        table[f"p_{name}"] = chances[:, k]
    return table


def _drawn(
    project: Project, pool: Pool, learned: Learned, settings: ProposeSettings
) -> list[Drawn]:
    """What is proposed, items of known class among it."""
    items = {one.item for one in project.proposed()} | {one.item for one in project.answers()}
    gold = sorted(set(project.gold()) - items)
    gold = [gold[n] for n in np.flatnonzero(pool.positions(gold) >= 0)]
    rng = np.random.default_rng([settings.seed, len(items)])
    most = min(math.ceil(settings.count * _GOLD_SHARE), settings.count - 1)
    gold_now = rng.permutation(np.array(gold, dtype=object))[:most].tolist()
    # Other items of known class may be chosen and drawn as any: the audit is of all that is left.
    asked = pool.positions([*sorted(items), *gold_now])
    drawn = propose(
        pool,
        learned.known,
        learned.heads,
        _without(settings, len(gold_now)),
        asked=asked[asked >= 0],
    )
    reasons = [one.why for one in drawn if one.why != AUDIT] or [AUDIT]
    for item, probability in zip(gold_now, _chances(pool, learned, gold_now), strict=True):
        why = reasons[int(rng.integers(len(reasons)))]
        drawn.insert(int(rng.integers(len(drawn) + 1)), Drawn(item, why, 1.0, probability))
    return drawn


def _without(settings: ProposeSettings, gold: int) -> ProposeSettings:
    """What is proposed beside items of known class, with the audit of the whole round."""
    count = settings.count - gold
    return replace(settings, count=count, audit_share=min(settings.audit / count, 1.0))


def _chances(pool: Pool, learned: Learned, items: Sequence[str]) -> list[float | None]:
    """What heads say of items, if there are any."""
    if learned.heads is None or not items:
        return [None] * len(items)
    embeddings = pool.embeddings(pool.positions(items))
    return [*shown_chances(learned.heads.probabilities(embeddings))]


def _keep_unrecorded(folder: Path) -> None:
    """Give another name to what lies there of a round that was never recorded.

    Somebody may have answered on its layer.
    """
    if folder.exists():
        names = (folder.with_name(f"{folder.name}.unrecorded-{n}") for n in count(1))
        folder.rename(next(name for name in names if not name.exists()))


def _write_proposal(path: Path, proposed: Sequence[Proposed], pool: Pool) -> None:
    # One of known class that is among the audit looks as the others do.
    shown = min((one.inclusion for one in proposed if one.why == AUDIT), default=1.0)
    rows = pool.positions([one.item for one in proposed])
    columns = [
        [one.item for one in proposed],
        pool.lon[rows],
        pool.lat[rows],
        [one.rank for one in proposed],
        [one.why for one in proposed],
        [shown if one.why == AUDIT else one.inclusion for one in proposed],
    ]
    with writing(path) as aside:
        pq.write_table(pa.table(columns, schema=PROPOSAL_SCHEMA), aside)
