"""How good the results of places are whose content is known."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from geoseg.errors import ConfigError, DataError, LabelError
from geoseg.files import writing
from geoseg.metrics.detection import score_detection
from geoseg.metrics.histogram import LogitHistogram
from geoseg.metrics.prevalence import HeldOut, estimate_prevalence
from geoseg.metrics.reliability import score_calibration
from geoseg.metrics.resampling import Interval
from geoseg.presence.results import read_results, results_table

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from geoseg.metrics.calibration import Calibration
    from geoseg.metrics.prevalence import Estimate

__all__ = [
    "PresenceScores",
    "estimate_of_results",
    "pool_of_results",
    "read_held_out",
    "score_results",
    "write_held_out",
]

_SEED = 0  # of intervals, so that scores made again are the same
_COLUMNS = ("chip_id", "logit", "probability", "decision", "present", "sensors")


@dataclass(frozen=True, slots=True, kw_only=True)
class PresenceScores:
    """Of places that neither the training nor the calibration has seen."""

    places: int
    positives: int
    average_precision: Interval
    false_positives_1e5: Interval  # of 100,000 places without, those taken at a recall of 0.9
    ece: float
    ece_debiased: float
    brier: float
    recall: float  # at the threshold that was shipped
    recall_wanted: float  # that it guarantees
    precision: float  # there
    prevalence: float  # that these places have


def score_results(
    results: Path, record: Mapping[str, Any], groups: Mapping[str, str]
) -> PresenceScores:
    """Scores of results against what their places are known to hold.

    Args:
        results: the folder of a prediction.
        record: of the model, with its threshold.
        groups: by the id of a place, which others it may share its ground with; intervals are over
            groups.

    Raises:
        LabelError: places of one kind only.
        DataError: no results that can be read.
    """
    table = results_table(results, _COLUMNS).to_pandas()
    rows = table[table["present"].notna() & table["logit"].notna()]
    present = rows["present"].to_numpy(dtype=bool)
    if not present.any() or present.all():
        raise LabelError(
            f"{present.sum()} of {len(present)} places that test hold it; label more of both kinds."
        )
    # Ranked by the logit: probabilities of the surest places are tied at 1.
    logit = rows["logit"].to_numpy(dtype=np.float64)
    probability = rows["probability"].to_numpy(dtype=np.float64)
    decided = rows["decision"].to_numpy(dtype=bool)
    rng = np.random.default_rng(_SEED)
    detection = score_detection(
        logit,
        present,
        rng,
        prevalence=float(present.mean()),
        groups=[groups.get(key, key) for key in rows["chip_id"]],
    )
    calibration = score_calibration(probability, present)
    return PresenceScores(
        places=len(present),
        positives=int(present.sum()),
        average_precision=detection.average_precision,
        false_positives_1e5=detection.false_positives_1e5,
        ece=calibration.ece,
        ece_debiased=calibration.ece_debiased,
        brier=calibration.brier,
        recall=float(decided[present].mean()),
        recall_wanted=float(record["threshold"]["recall"]),
        precision=float(present[decided].mean()) if decided.any() else float("nan"),
        prevalence=float(present.mean()),
    )


def pool_of_results(results: Path, calibration: Calibration) -> LogitHistogram:
    """The log likelihood ratios of all places of some results, in bins.

    Raises:
        DataError: no results that can be read.
    """
    pool = LogitHistogram()
    for batch in read_results(results, ("logit", "sensors")):
        rows = batch.to_pandas().dropna(subset="logit")
        sensors = [_only(list(names)) for names in rows["sensors"]]
        pool.add(calibration.log_ratio(rows["logit"].to_numpy(dtype=np.float64), sensors))
    return pool


def estimate_of_results(results: Path, calibration: Calibration, held_out: HeldOut) -> Estimate:
    """The share of places of some results that hold it, by their scores, with an interval.

    Args:
        results: the folder of a prediction.
        calibration: of the model.
        held_out: places that it was calibrated on.
    """
    pool = pool_of_results(results, calibration)
    return estimate_prevalence(pool, held_out, np.random.default_rng(_SEED))


def write_held_out(path: Path, held_out: HeldOut, *, model: str) -> None:
    """Keep the places that a model was calibrated on: numbers are estimated with them.

    Args:
        path: of a Parquet.
        held_out: the places.
        model: SHA-256 of the calibrated model.

    Raises:
        OutputError: the file cannot be written.
    """
    columns = {"log_ratio": held_out.log_ratio, "present": held_out.present}
    groups = held_out.groups
    if groups is not None:
        columns["group"] = np.asarray(groups).astype(str)
    table = pd.DataFrame(columns)
    table.attrs["model"] = model
    with writing(path) as aside:
        table.to_parquet(aside, index=False)


def read_held_out(path: Path, *, model: str) -> HeldOut:
    """What `write_held_out` kept.

    Raises:
        ConfigError: another model was calibrated on them.
        DataError: no such file, or a damaged one.
    """
    try:
        table = pd.read_parquet(path)
        of_model = table.attrs["model"]
        held_out = HeldOut(
            log_ratio=table["log_ratio"].to_numpy(dtype=np.float64),
            present=table["present"].to_numpy(dtype=bool),
            groups=table["group"].to_numpy() if "group" in table else None,
        )
    except (OSError, KeyError, ValueError) as error:
        raise DataError(f"{path} cannot be read ({error}); calibrate again.") from error
    if of_model != model:
        raise ConfigError(
            f"{path} is of the calibration of another model; give that which lies beside the "
            "model of these results."
        )
    return held_out


def _only(sensors: list[str]) -> str | None:
    return sensors[0] if len(set(sensors)) == 1 else None
