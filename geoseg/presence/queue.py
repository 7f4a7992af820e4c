"""Which places a person should look at next: the surest, the most doubtful, and a random audit.

The audit is what keeps figures honest: places found by a model tell nothing of what it missed. Its
places are drawn at random with known inclusion probabilities, so that a sum weighted by their
inverse (Horvitz and Thompson 1952, A generalization of sampling without replacement from a finite
universe) is the total of all places without bias: those that are queued for their probability
belong to it with certainty, each place of the audit stands for many of the rest.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from geoseg.errors import ConfigError
from geoseg.files import writing
from geoseg.presence.ranking import (
    CELLS_A_PLACE,
    Best,
    cells_of,
    hashes_of,
    log_odds,
    pick_apart,
)

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

__all__ = ["QUEUE_SCHEMA", "Queue", "QueueSettings", "Strategy", "make_queue", "write_queue"]

QUEUE_SCHEMA = pa.schema(
    [
        ("chip_id", pa.string()),
        ("lon", pa.float64()),
        ("lat", pa.float64()),
        ("probability", pa.float64()),
        ("why", pa.string()),  # surest, doubtful, audit
        ("inclusion_probability", pa.float64()),  # of the place in the queue, by design
        ("rank", pa.int64()),  # from 1, in the order to look at
    ]
)
_READ = ["chip_id", "lon", "lat", "probability"]


class Strategy(StrEnum):
    """What a queue is made of; a tenth or more is always a random audit."""

    MIXED = "mixed"
    SUREST = "surest"
    DOUBTFUL = "doubtful"
    AUDIT = "audit"


_SHARES = {  # of the surest and of the most doubtful
    Strategy.MIXED: (0.6, 0.3),
    Strategy.SUREST: (0.9, 0.0),
    Strategy.DOUBTFUL: (0.0, 0.9),
    Strategy.AUDIT: (0.0, 0.0),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueSettings:
    """What is queued."""

    threshold: float  # of decision, on the probability, 0 to 1; doubt is greatest there
    count: int = 500  # places
    strategy: Strategy = Strategy.MIXED
    apart_m: float = 500.0  # at least, between two queued for their probability; 0: no matter
    seed: int = 0  # of the audit

    def __post_init__(self) -> None:
        if self.count < 1:
            raise ConfigError(f"A queue of {self.count} places is none; ask for 1 or more.")
        if not (self.apart_m == 0 or 1 <= self.apart_m < math.inf):
            raise ConfigError(
                f"Places cannot be kept {self.apart_m} m apart; give 1 or more metres, or 0."
            )
        if not 0 <= self.threshold <= 1:
            raise ConfigError(f"The threshold {self.threshold} is no probability; give 0 to 1.")

    @property
    def quotas(self) -> tuple[int, int]:
        """How many of the surest and of the most doubtful; what is left is audit."""
        chosen = self.count - math.ceil(self.count / 10)
        surest, doubtful = (math.floor(self.count * share) for share in _SHARES[self.strategy])
        return min(surest, chosen), min(doubtful, chosen - surest)


class Queue(NamedTuple):
    """A queue, and what it was drawn from."""

    rows: pd.DataFrame  # columns of QUEUE_SCHEMA, by rank
    places: int  # with a probability
    unscored: int  # without: in no queue, and no part of what the audit stands for


def make_queue(batches: Iterable[pd.DataFrame], settings: QueueSettings) -> Queue:
    """The places to look at, those of each kind spread evenly over the ranks.

    The surest are those of the highest probability, the most doubtful those whose log odds are
    nearest to those of the threshold; no two of these are nearer than `apart_m` where their
    position is known, and they are in the queue for sure (inclusion probability 1). The audit is
    the places of the rest with the smallest hash of id and seed: a simple random sample without
    replacement. It is not thinned, because that would make its probabilities untrue. So any first
    part of a queue holds a random sample too. The same places give the same queue, whatever their
    order; memory does not grow with their number.

    Args:
        batches: chip_id, lon, lat (degrees, NaN where not known), probability (NaN where a place
            has none); no id twice.
        settings: how many, of what, how far apart.
    """
    room = max(CELLS_A_PLACE * sum(settings.quotas), 1)
    surest, doubtful, audit = Best(room), Best(room), Best(settings.count)
    turning = log_odds(settings.threshold)
    places = unscored = 0
    for batch in batches:
        scored = batch.loc[batch["probability"].notna(), _READ].reset_index(drop=True)
        places += len(scored)
        unscored += len(batch) - len(scored)
        scored["hash"] = hashes_of(scored["chip_id"], settings.seed)
        audit.add(scored.assign(cell=cells_of(scored, 0), score=-scored["hash"].astype(float)))
        scored["cell"] = cells_of(scored, settings.apart_m)
        surest.add(scored.assign(score=scored["probability"].astype(np.float64)))
        doubtful.add(scored.assign(score=-np.abs(log_odds(scored["probability"]) - turning)))
    rows = _join(surest, doubtful, audit, places=places, settings=settings)
    return Queue(rows, places, unscored)


def write_queue(path: Path, rows: pd.DataFrame) -> None:
    """Write a queue as Parquet, QUEUE_SCHEMA.

    Raises:
        OutputError: it cannot be written.
    """
    with writing(path) as aside:
        pq.write_table(pa.Table.from_pandas(rows, QUEUE_SCHEMA, preserve_index=False), aside)


def _join(
    surest: Best, doubtful: Best, audit: Best, *, places: int, settings: QueueSettings
) -> pd.DataFrame:
    """The three kinds as one queue; the audit is drawn from all places that were not picked."""
    kinds = [surest.rows.assign(why="surest"), doubtful.rows.assign(why="doubtful")]
    sure = pd.concat(pick_apart(kinds, list(settings.quotas), settings.apart_m))
    rest = audit.rows[~audit.rows["chip_id"].isin(sure["chip_id"])]
    drawn = rest.head(settings.count - sum(settings.quotas))
    share = len(drawn) / max(places - len(sure), 1)
    rows = pd.concat(
        [
            sure.assign(inclusion_probability=1.0),
            drawn.assign(why="audit", inclusion_probability=share),
        ]
    )
    own = rows.groupby("why")["why"]
    spread = (own.cumcount() + 0.5) / own.transform("size")
    rows = rows.assign(spread=spread).sort_values("spread", kind="stable")
    rows = rows.assign(rank=np.arange(1, len(rows) + 1))
    numbers = dict.fromkeys(("lon", "lat", "probability"), "float64")  # also when there is no row
    queue: pd.DataFrame = rows[QUEUE_SCHEMA.names].astype(numbers).reset_index(drop=True)
    return queue
