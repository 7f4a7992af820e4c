"""First appearances of all places of a prediction, from file to file with constant memory."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass
from math import floor, isnan
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from geoseg.errors import ConfigError, DataError
from geoseg.files import writing
from geoseg.metrics.calibration import Calibration
from geoseg.presence.appearance import DateErrors, first_appearances, fit_date_errors
from geoseg.presence.evidence import DatedEvidence
from geoseg.presence.results import RESULTS, parts_of, read_results

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from numpy.typing import NDArray

    from geoseg.presence.appearance import FirstAppearances, OnsetPrior

__all__ = [
    "FirstSeen",
    "date_errors_of",
    "shipped_date_errors",
    "write_first_appearances",
]

_KEPT = ("chip_id", "geometry", "probability")
_IMAGES = ("years", "sensors", "image_logits", "image_valid")
_SCHEMA = pa.schema(
    {
        "chip_id": pa.string(),
        "geometry": pa.binary(),
        "probability": pa.float32(),
        **dict.fromkeys(("first_after", "first_until", "first_year", "low", "high"), pa.float64()),
    },
    metadata={
        "geo": json.dumps(
            {
                "version": "1.1.0",
                "primary_column": "geometry",
                "columns": {"geometry": {"encoding": "WKB", "geometry_types": ["Point"]}},
            }
        )
    },
)


class Span(NamedTuple):
    """From a year to a year, None for before the first image."""

    after: int | None
    until: int


@dataclass(frozen=True, slots=True, kw_only=True)
class FirstSeen:
    """How many places got something, and when."""

    places: int
    present: int  # held to have it
    unseen: int  # without any valid image: unknown, not absent
    calibrated: bool  # the evidence of images, as the results tell
    spans: Mapping[Span, int]  # present places, by the years of the images that bound the onset


def write_first_appearances(
    results: Path,
    out: Path,
    *,
    prior: OnsetPrior,
    errors: DateErrors,
    on_places: Callable[[int, int], None] | None = None,
) -> FirstSeen:
    """Write a GeoParquet with the first appearance in each place of a prediction.

    Columns: chip_id, geometry and probability as in the results; first_after and first_until, the
    images that bound the credible interval of 90 % from low to high, and first_year, its median,
    decimal years. They are empty where the prediction decided against presence, and where no
    image is valid; first_after and low (and first_year) also where it may have been before the
    first image.

    Args:
        results: the folder of a prediction.
        out: the .parquet, replaced when it exists, whole or not at all.
        prior: how often the thing comes.
        errors: of the evidence of single images.
        on_places: is told how many places are done, and how many there are.

    Raises:
        DataError: the folder holds no results that can be read.
        OutputError: the file cannot be written.
    """
    calibration = _calibration(results)
    counts: Counter[Span] = Counter()
    places = present = unseen = 0
    total = _places_in(results)
    with writing(out) as aside, pq.ParquetWriter(aside, _SCHEMA, compression="zstd") as table:
        for batch in read_results(results, (*_KEPT, "decision", *_IMAGES)):
            held = _flags(batch["decision"])
            found = first_appearances(
                _evidence(batch, calibration), prior=prior, errors=errors, present=held
            )
            table.write_batch(_rows(batch, found))
            places += len(held)
            present += int(held.sum())
            unseen += int(np.isnan(found.probability_present).sum())
            counts.update(_spans(found))
            if on_places is not None:
                on_places(places, total)
    spans = dict(sorted(counts.items(), key=lambda span: (span[0].until, span[0].after or -np.inf)))
    return FirstSeen(
        places=places,
        present=present,
        unseen=unseen,
        calibrated=calibration is not None,
        spans=spans,
    )


def date_errors_of(labelled: Path) -> DateErrors:
    """How single images err, from the results of a prediction on places with labels.

    They must be places that the model was not trained on. All of them are held in memory.

    Raises:
        DataError: no results, or without labels.
        LabelError: too few of them.
    """
    calibration = _calibration(labelled)
    found = [
        (
            _evidence(batch, calibration),
            _flags(batch["present"]),
            batch["present"].is_valid().to_numpy(zero_copy_only=False),
        )
        for batch in read_results(labelled, ("present", *_IMAGES))
    ]
    evidence = _joined([one for one, _, _ in found])
    present, known = (np.concatenate([one[index] for one in found]) for index in (1, 2))
    return fit_date_errors(_only(evidence, known), present[known])


def shipped_date_errors(results: Path) -> DateErrors | None:
    """How single images err by the model of a prediction; None where it was not taught on series.

    Raises:
        DataError: results.json is damaged.
    """
    record = _told(results).get("date_errors")
    try:
        return None if record is None else DateErrors(**record)
    except (TypeError, ConfigError) as error:
        raise DataError(
            f"date_errors of {results / RESULTS} cannot be read ({error}); run the prediction "
            "again."
        ) from error


def _only(evidence: DatedEvidence, places: NDArray[np.bool_]) -> DatedEvidence:
    """Some of the places."""
    counts = np.diff(evidence.offsets)
    images = np.repeat(places, counts)
    return DatedEvidence(
        years=evidence.years[images],
        evidence=evidence.evidence[images],
        validity=evidence.validity[images],
        offsets=np.concatenate([[0], np.cumsum(counts[places])]),
    )


def _joined(parts: list[DatedEvidence]) -> DatedEvidence:
    counts = np.concatenate([np.diff(part.offsets) for part in parts])
    return DatedEvidence(
        years=np.concatenate([part.years for part in parts]),
        evidence=np.concatenate([part.evidence for part in parts]),
        validity=np.concatenate([part.validity for part in parts]),
        offsets=np.concatenate([[0], np.cumsum(counts)]),
    )


def _calibration(results: Path) -> Calibration | None:
    """That of the model, where results.json tells of one."""
    record = _told(results).get("calibration")
    return None if record is None else Calibration.from_dict(record)


def _told(results: Path) -> dict[str, Any]:
    """What results.json says; nothing where there is none."""
    about = results / RESULTS
    if not about.is_file():
        return {}
    try:
        return dict(json.loads(about.read_text(encoding="utf-8")))
    except (ValueError, TypeError) as error:
        raise DataError(f"{about} is damaged ({error}); run the prediction again.") from error


def _places_in(results: Path) -> int:
    """How many; all files are looked at before anything is written."""
    parts = parts_of(results)
    if not parts:
        raise DataError(f"{results} holds no results; make them with `geoseg presence predict`.")
    places = 0
    for part in parts:
        try:
            places += pq.read_metadata(part).num_rows
        except (pa.ArrowException, OSError) as error:
            raise DataError(
                f"{part} cannot be read ({str(error).splitlines()[0]}); delete it and predict "
                "again."
            ) from error
    return places


def _evidence(batch: pa.RecordBatch, calibration: Calibration | None) -> DatedEvidence:
    """Of the images of a batch of places; an image that was not seen says nothing."""
    counts = pc.fill_null(pc.list_value_length(batch["image_logits"]), 0).to_numpy()
    years, logits, validity = (
        batch[name].flatten().to_numpy(zero_copy_only=False).astype(np.float64)
        for name in ("years", "image_logits", "image_valid")
    )
    if calibration is not None:
        sensors = batch["sensors"].flatten().to_numpy(zero_copy_only=False)
        logits = calibration.log_ratio(logits, sensors)
    return DatedEvidence(
        years=years,
        evidence=logits,
        validity=np.where(np.isfinite(logits), np.clip(np.nan_to_num(validity), 0, 1), 0),
        offsets=np.concatenate([[0], np.cumsum(counts, dtype=np.int64)]),
    )


def _flags(column: pa.Array) -> NDArray[np.bool_]:
    filled = pc.fill_null(column, False)
    return np.asarray(filled.to_numpy(zero_copy_only=False), dtype=bool)


def _rows(batch: pa.RecordBatch, found: FirstAppearances) -> pa.RecordBatch:
    years = (found.after, found.until, found.year, found.low, found.high)
    kept = [batch[name].cast(_SCHEMA.field(name).type) for name in _KEPT]
    # from_pandas: NaN is a missing value.
    return pa.RecordBatch.from_arrays(
        [*kept, *(pa.array(column, from_pandas=True) for column in years)], schema=_SCHEMA
    )


def _spans(found: FirstAppearances) -> Counter[Span]:
    told = np.isfinite(found.until)
    pairs = zip(found.after[told].tolist(), found.until[told].tolist(), strict=True)
    return Counter(Span(None if isnan(a) else floor(a), floor(u)) for a, u in pairs)
