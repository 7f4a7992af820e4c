"""The page of presence from the folder of a prediction."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pandas as pd
import pyarrow.parquet as pq

from geoseg.errors import ConfigError, DataError
from geoseg.metrics.calibration import Calibration, shift_prior
from geoseg.models import load_classifier
from geoseg.parquet import DAMAGED
from geoseg.presence.about import short, unfinished
from geoseg.presence.activation import activation_maps, decision_level
from geoseg.presence.packs import StoredPlace, read_labels, read_pack
from geoseg.presence.packs.pack import PACK
from geoseg.presence.packs.pixels import Palette
from geoseg.presence.packs.read import read_stored
from geoseg.presence.packs.stored import decode_place
from geoseg.presence.results import RESULTS, parts_of, read_results
from geoseg.presence.scores import estimate_of_results, read_held_out
from geoseg.presence.scoring import Verdict, fit_places, only_sensor
from geoseg.report.presence_page import DecisionRule, PresenceReport, TotalNumber
from geoseg.report.presence_sheets import Sheet, ShownPlace, show_place
from geoseg.report.presence_tally import count_first_years, tally_results
from geoseg.report.presence_truth import judge, recall_interval
from geoseg.report.quantities import known as number_of

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterator, Mapping

    from numpy.typing import NDArray

    from geoseg.chips import Place
    from geoseg.metrics.prevalence import Estimate
    from geoseg.models import Classifier
    from geoseg.presence.packs import Pack
    from geoseg.report.presence_tally import FirstYears, Tally

__all__ = ["About", "read_about", "report_of_results", "result_batches"]

_COLUMNS = ("chip_id", "lon", "lat", "probability", "decision", "n_images", "present")
_RULE = ("threshold", "n", "recall", "confidence")
_FIRST_COLUMNS = ["first_until", "first_year", "low", "high"]
_SHEETS = {
    "surest": (
        "Surest",
        "Of the places said to hold one, those of the highest probability.",
    ),
    "doubtful": (
        "Most doubtful",
        "The places whose probability is nearest to the threshold, on the scale of log odds.",
    ),
    "missed": (
        "Missed",
        "Known to hold one and said not to; those first of which the model was surest.",
    ),
    "false alarms": (
        "False alarms",
        "Known not to hold one and said to; those first of which the model was surest.",
    ),
}
_NOTHING = -1e3  # logit of a pixel that shows nothing: far below any level
_SEED = 0  # of intervals, so that a page made again says the same


class About(NamedTuple):
    """What results.json says was run."""

    told: Mapping[str, Any]
    rule: DecisionRule  # its threshold is on the probability of the results

    @property
    def target(self) -> str:
        """What was looked for."""
        return str(self.told.get("target") or "target")


def read_about(results: Path) -> About:
    """What was run, and the threshold as it is on the probability that the results hold.

    The threshold of a model is set at the prevalence of its held-out places; results may be at
    another one.

    Raises:
        DataError: no results, or results.json is damaged.
    """
    path = results / RESULTS
    try:
        told = json.loads(path.read_bytes())
        rule = told["threshold"]
        rule = rule if isinstance(rule, dict) else {"threshold": rule}
        rule = {name: rule[name] for name in _RULE if rule.get(name) is not None}
        if told.get("prevalence") is not None:
            # All sensors share the prior, whatever their curves.
            prior = told["calibration"]["pooled"]["prior"]
            rule["threshold"] = float(shift_prior(rule["threshold"], prior, told["prevalence"]))
        return About(told, DecisionRule(**rule))
    except FileNotFoundError:
        raise DataError(
            f"{results} holds no results (no {RESULTS}); give the folder that `geoseg presence "
            "predict` wrote."
        ) from None
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise DataError(
            f"{path} cannot be read ({type(error).__name__}: {error}); predict again."
        ) from error


def result_batches(
    results: Path, on_rows: Callable[[int, int], None] = lambda _done, _total: None
) -> Iterator[pd.DataFrame]:
    """Rows of results with the number of their `shard`, some thousands at a time.

    Args:
        results: folder of a prediction.
        on_rows: is told how many rows were read, and of how many.

    Raises:
        DataError: no results, or a damaged file.
    """
    numbers, ends = _shards(results)
    done = 0
    for batch in read_results(results, _COLUMNS):
        rows = batch.to_pandas()
        row = np.arange(done, done + len(rows))
        rows["shard"] = numbers[np.searchsorted(ends, row, side="right")]
        done += len(rows)
        on_rows(done, int(ends[-1]))
        yield rows


def report_of_results(
    results: Path,
    *,
    pack: Path | None = None,
    labels: Path | None = None,
    first: Path | None = None,
    held_out: Path | None = None,
    model: Path | None = None,
    on_rows: Callable[[int, int], None] = lambda _done, _total: None,
) -> PresenceReport:
    """All that a page says of a prediction; memory does not grow with the number of places.

    Args:
        results: folder of a prediction.
        pack: images to show; the pack that was predicted when None, none where that is gone.
        labels: CSV or Parquet with chip_id and present, beside what the results know.
        first: Parquet of `geoseg presence first`.
        held_out: calibration.parquet of the model: the total number gets an interval.
        model: that predicted: lines are drawn around what speaks for presence.
        on_rows: is told how many rows were read, and of how many.

    Raises:
        ConfigError: the pack is not the one that was predicted, the model not the one that
            predicted, or not the one that was calibrated so.
        DataError: results, pack or first appearances that cannot be read.
        LabelError: labels that cannot be read.
    """
    about = read_about(results)
    images = _pack(about, pack)
    evidence = None if model is None else _Evidence.of(about, model)
    told, wrong = _labels(labels)
    years = None if first is None else _first_years(first)
    estimate = None if held_out is None else _estimate(results, about, held_out)
    batches = result_batches(results, on_rows)
    tally = tally_results(batches, threshold=about.rule.threshold, labels=told)
    truth = judge(
        tally.known_present,
        tally.known_absent,
        prevalence=about.told.get("prevalence"),
        rng=np.random.default_rng(_SEED),
    )
    seen = tally.places - tally.unscored
    return PresenceReport(
        title=f"{about.target.replace('_', ' ').capitalize()}: {results.resolve().name}",
        target=about.target,
        facts=_facts(about, results),
        places=tally.places,
        images=tally.images,
        unscored=tally.unscored,
        unfinished=unfinished(results),
        found=tally.found,
        counts=tally.counts,
        rule=about.rule,
        problems=(*_problems(about), *wrong),
        problem_count=int(about.told.get("problems") or 0) + len(wrong),
        total=_total(about, tally) if estimate is None else TotalNumber.of(estimate, seen),
        truth=truth,
        why_no_truth=_why_no_truth(tally),
        sheets=_sheets(tally, images, evidence),
        first=years,
    )


def _shards(results: Path) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The numbers of the shards, and behind how many rows each ends."""
    parts = parts_of(results)
    numbers = [int(part.parent.name.removeprefix("shard=")) for part in parts]
    try:
        rows = [pq.read_metadata(part).num_rows for part in parts]
    except DAMAGED as error:
        raise DataError(f"{results} holds a damaged shard ({error}); predict again.") from error
    return np.array(numbers, dtype=np.int64), np.cumsum(rows, dtype=np.int64)


def _pack(about: About, given: Path | None) -> Pack | None:
    """The pack that was predicted, or None where it is gone and nobody asked for it."""
    named = Path(about.told.get("pack") or "")
    if given is None:
        pack = read_pack(named) if (named / PACK).is_file() else None
        # One that was packed anew since then is as good as gone.
        return pack if pack and pack.digest == about.told.get("pack_digest") else None
    pack = read_pack(given)
    if pack.digest != about.told.get("pack_digest"):
        raise ConfigError(f"{given} is not the pack of these results; give {named}.")
    return pack


def _labels(path: Path | None) -> tuple[pd.Series[bool] | None, tuple[str, ...]]:
    """What is known by chip, and what is wrong with it."""
    if path is None:
        return None, ()
    labels, wrong = read_labels(path)
    known = {key: label.present for key, label in labels.items() if label.present is not None}
    told = pd.Series(list(known.values()), index=list(known), dtype=bool)
    return told, tuple(f"{problem.key}: {problem.reason}" for problem in wrong)


def _first_years(path: Path) -> FirstYears:
    try:
        with pq.ParquetFile(path) as table:
            missing = [name for name in _FIRST_COLUMNS if name not in table.schema_arrow.names]
            if not missing:
                batches = table.iter_batches(columns=_FIRST_COLUMNS)
                return count_first_years(batch.to_pandas() for batch in batches)
    except DAMAGED as error:
        raise DataError(
            f"{path} cannot be read ({str(error).splitlines()[0]}); make it with `geoseg presence "
            "first`."
        ) from error
    raise DataError(
        f"{path} has no column {' and no '.join(missing)}; make it with `geoseg presence first`."
    )


def _problems(about: About) -> tuple[str, ...]:
    return tuple(f"{p['key']}: {p['reason']}" for p in about.told.get("first_problems") or ())


def _facts(about: About, results: Path) -> dict[str, str]:
    told = about.told
    facts = {
        "Results": str(results),
        "Pack": told.get("pack"),
        "Rows": told.get("rows"),
        "Model (SHA-256)": told.get("model"),
        "Calibrated": {True: "yes", False: "no: the sigmoid of the logit"}.get(
            told.get("calibrated")  # type: ignore[arg-type]  # None too
        ),
        "Prevalence": told.get("prevalence"),
        "geoseg": told.get("geoseg"),
    }
    return {title: str(value) for title, value in facts.items() if value is not None}


def _estimate(results: Path, about: About, path: Path) -> Estimate:
    """The share of places that hold it."""
    if about.told.get("calibration") is None:
        raise ConfigError(
            f"{results} is of a model that was not calibrated, so that {path} cannot be of its "
            "calibration; leave --held-out away."
        )
    held_out = read_held_out(path, model=str(about.told.get("model")))
    calibration = Calibration.from_dict(about.told["calibration"])
    return estimate_of_results(results, calibration, held_out)


def _total(about: About, tally: Tally) -> TotalNumber | None:
    """The number that the probabilities add up to, where they are more than sigmoids."""
    if not about.told.get("calibrated"):
        return None
    nan = math.nan
    return TotalNumber(
        value=tally.expected, low=nan, high=nan, words="the sum of the probabilities, no interval"
    )


def _why_no_truth(tally: Tally) -> str:
    """Why the page cannot say how good this is."""
    present, absent = tally.known_present, tally.known_absent
    if not present.places and not absent.places:
        return "Of none of these places it is known what they hold."
    if not present.places:
        return (
            f"All {absent.places:,} places of which it is known hold none, and {absent.found:,} of "
            "them are said to; without places that hold one nothing else can be said."
        )
    recall = recall_interval(present)
    return (
        f"All {present.places:,} places of which it is known hold one, and {present.found:,} of "
        f"them are found: a recall of {recall.value:.3f} ({recall.low:.3f} to {recall.high:.3f}, "
        "95 % after Clopper and Pearson). Without places that hold none nothing can be said of "
        "false alarms."
    )


class _Evidence(NamedTuple):
    """What shows where in an image something speaks for presence."""

    classifier: Classifier
    verdict: Verdict

    @classmethod
    def of(cls, about: About, model: Path) -> _Evidence:
        """That of the model of some results."""
        checkpoint = load_classifier(model)
        predicted = about.told.get("model")
        if checkpoint.sha256 != predicted:
            raise ConfigError(
                f"{model} is not the model of these results ({short(str(predicted))}); name that "
                "one."
            )
        return cls(checkpoint.classifier.eval(), Verdict.of(checkpoint.record))

    def seen_in(self, place: Place) -> list[NDArray[np.float32]] | None:
        """Logits of pixels over that from which the place is said to hold it, image by image."""
        level = decision_level(self.verdict, only_sensor(place))
        fitting = [fit for _, fit in fit_places([place], self.classifier, lambda _: None)]
        if not fitting or math.isinf(level):
            return None
        maps, _ = activation_maps(self.classifier, fitting)
        return [np.nan_to_num(image - level, nan=_NOTHING) for image in maps[0]]


def _sheets(tally: Tally, pack: Pack | None, evidence: _Evidence | None) -> tuple[Sheet, ...]:
    """The sheets, those of mistakes only where there is truth to make them."""
    rows = pd.concat(list(tally.picked.values())).drop_duplicates("chip_id")
    places = {} if pack is None else _places(rows, pack, evidence)
    known = tally.known_present.places + tally.known_absent.places > 0
    return tuple(
        Sheet(
            title=title,
            words=words,
            places=tuple(
                _shown(row, places.get(str(row["chip_id"])))
                for row in tally.picked[name].to_dict("records")
            ),
        )
        for name, (title, words) in _SHEETS.items()
        if known or name in ("surest", "doubtful")
    )


def _places(rows: pd.DataFrame, pack: Pack, evidence: _Evidence | None) -> dict[str, ShownPlace]:
    """Some places of a pack as they are shown; of the other places no image is decoded."""
    palettes = {kind: Palette(kind, pixels) for kind, pixels in pack.kinds.items()}
    found: dict[str, ShownPlace] = {}
    for number, of_shard in rows.groupby("shard"):
        wanted = set(of_shard["chip_id"])
        for stored in read_stored(pack.shards[int(str(number))].path, pack.foreign):
            if isinstance(stored, StoredPlace) and stored.id in wanted:
                place = decode_place(stored.without_masks(), palettes)
                maps = None if evidence is None else evidence.seen_in(place)
                found[stored.id] = show_place(place, math.nan, evidence=maps)
                wanted.discard(stored.id)
            if not wanted:
                break
    return found


def _shown(row: dict[Hashable, Any], place: ShownPlace | None) -> ShownPlace:
    """What results and labels say of a place, with its images where there are any."""
    present = number_of(row["present"])
    return ShownPlace(
        id=str(row["chip_id"]),
        lon=number_of(row["lon"]),
        lat=number_of(row["lat"]),
        probability=float(row["probability"]),
        present=None if math.isnan(present) else bool(present),
        images=() if place is None else place.images,
        left_out=0 if place is None else place.left_out,
    )
