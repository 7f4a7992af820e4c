"""A pack through a classifier: shard by shard, by one process or many, to be gone on with."""

from __future__ import annotations

import csv
import math
from dataclasses import dataclass, replace
from itertools import chain, islice
from typing import TYPE_CHECKING, Any

from geoseg.errors import ModelError
from geoseg.files import sha256_of, writing
from geoseg.models import choose_device, extrapolation
from geoseg.models.classifier import load_classifier
from geoseg.presence.about import about_run, require_same, short, write_about
from geoseg.presence.duplicates import repeated
from geoseg.presence.loaded import same_classifier, same_pack
from geoseg.presence.packs import PROBLEMS, Pack, Problem, Shard, read_pack, read_shard
from geoseg.presence.results import part_of_shard, read_part, read_told, write_part
from geoseg.presence.scoring import Verdict, score
from geoseg.scale import Manifest, Unit, inputs_hash, run_units

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from geoseg.scale import Ended, Engine

__all__ = ["Predicted", "Prediction", "beyond_training", "predict_pack"]

_TOLD = 100  # problems that results.json names; all are in problems.csv


@dataclass(frozen=True, slots=True, kw_only=True)
class Prediction:
    """What is to be predicted, and how."""

    pack: Path
    model: Path
    out: Path
    device: str = "auto"
    most_images: int = 128  # of a batch; fewer of large ones
    prevalence: float | None = None  # share of places that hold it; that of the model when None


@dataclass(frozen=True, slots=True, kw_only=True)
class Predicted:
    """What became of it; of all runs that made these results."""

    places: int
    decided: int  # said to hold what is looked for
    unseen: int  # without a valid pixel: nothing is said of them
    expected: float  # sum of probabilities
    shards: int
    shards_done: int
    problems: int  # places and shards that were left out, and names that come twice
    first_problems: tuple[Problem, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Job:
    """One shard."""

    pack: Path
    digest: str  # of the pack
    shard: Shard
    model: Path
    sha256: str  # of the model
    device: str
    most_images: int
    prevalence: float | None
    inputs: str
    output: Path


def predict_pack(
    prediction: Prediction,
    engine: Engine,
    on_shard: Callable[[int, int], None] = lambda _done, _total: None,
) -> Predicted:
    """What a classifier says of all places of a pack; shards that are done are not done again.

    A shard that is gone, cut short or changed is told of, and the others go on; it is tried again
    by the next run.

    Args:
        prediction: pack, model, and where the results go.
        engine: who does it.
        on_shard: is told of every shard.

    Raises:
        ConfigError: the folder holds results of another model, pack or prevalence; a prevalence
            that is not between 0 and 1; a device that is not there.
        DataError: no pack.
        ModelError: no classifier, or a prevalence for one that is not calibrated.
        OutputError: the results cannot be written, or another run is writing them.
    """
    pack = read_pack(prediction.pack)
    checkpoint = same_classifier(prediction.model, sha256_of_model(prediction.model))
    verdict = Verdict.of(checkpoint.record, prediction.prevalence)
    source = {"pack": str(prediction.pack), "pack_digest": pack.digest}
    about = about_run(checkpoint, checkpoint.record, verdict, source)
    require_same(prediction.out, about)
    if engine.kind != "dask":  # whose workers may have what this machine has not
        choose_device(prediction.device)
    prediction = replace(prediction, prevalence=verdict.prevalence)
    units = _units(prediction, pack, checkpoint.sha256)
    ended = 0

    def take(_: Ended) -> None:
        nonlocal ended
        ended += 1
        on_shard(ended, len(pack.shards))

    with Manifest(prediction.out) as manifest:
        with manifest.held():
            write_about(prediction.out, about, state="running", shards=len(pack.shards))
        run_units(
            _predict_shard,
            units,
            engine=engine,
            manifest=manifest,
            on_done=take,
            recognise=_recognise,
        )
        predicted = _sum_up(prediction.out, pack, manifest)
    write_about(prediction.out, about, state="done", **_figures(predicted))
    return predicted


def beyond_training(prediction: Prediction) -> list[str]:
    """What of a pack a network was never shown, a sentence a kind of image.

    Raises:
        DataError: no pack.
        ModelError: no classifier.
    """
    taken = load_classifier(prediction.model).classifier.spec.input
    kinds = read_pack(prediction.pack).kinds
    said = ((kind, extrapolation(taken, kind.measured(), kind.gsd_m)) for kind in kinds)
    return [f"{kind.sensor_id}: {sentence}" for kind, sentence in said if sentence is not None]


def sha256_of_model(path: Path) -> str:
    """The identity of a model.

    Raises:
        ModelError: no such file.
    """
    if not path.is_file():
        raise ModelError(f"{path} is no file; give the model.safetensors of a thaw-slump run.")
    return sha256_of(path)


def _figures(predicted: Predicted) -> dict[str, Any]:
    return {
        "places": predicted.places,
        "decided": predicted.decided,
        "unseen": predicted.unseen,
        "expected": predicted.expected,
        "shards": predicted.shards,
        "shards_done": predicted.shards_done,
        "problems": predicted.problems,
        "first_problems": [problem._asdict() for problem in predicted.first_problems],
    }


def _units(prediction: Prediction, pack: Pack, sha256: str) -> Iterator[Unit]:
    for number, shard in enumerate(pack.shards):
        output = part_of_shard(prediction.out, number)
        inputs = inputs_hash([sha256, pack.digest, shard.sha256, prediction.prevalence])
        job = _Job(
            pack=prediction.pack,
            digest=pack.digest,
            shard=shard,
            model=prediction.model,
            sha256=sha256,
            device=prediction.device,
            most_images=prediction.most_images,
            prevalence=prediction.prevalence,
            inputs=inputs,
            output=output,
        )
        yield Unit(f"{number:06d}", job, output, inputs)


def _predict_shard(job: _Job) -> dict[str, Any]:
    """Predict one shard; counts and problems."""
    device = choose_device(job.device)
    checkpoint = same_classifier(job.model, job.sha256)
    classifier = checkpoint.classifier.to(device)
    problems: list[Problem] = []
    found = score(
        read_shard(job.shard, same_pack(job.pack, job.digest)),
        classifier,
        Verdict.of(checkpoint.record, job.prevalence),
        device=device,
        most_images=job.most_images,
        on_problem=problems.append,
    )
    result = {
        "places": len(found),
        "decided": sum(bool(place.decision) for place in found),
        "unseen": sum(place.logit is None for place in found),
        "expected": math.fsum(place.probability or 0 for place in found),
        "problems": problems,
    }
    told = {"inputs": job.inputs, "result": result}
    write_part(job.output, found, model=short(job.sha256), told=told)
    return result


def _recognise(unit: Unit) -> Any:  # noqa: ANN401  any JSON value
    """What came of a shard whose results are there, though no record says so."""
    told = read_told(unit.output)
    if not isinstance(told, dict) or told.get("inputs") != unit.inputs:
        return None
    return told.get("result")


def _sum_up(out: Path, pack: Pack, manifest: Manifest) -> Predicted:
    """Counts of all shards; what was left out is written to problems.csv on the way."""
    sums = {"places": 0, "decided": 0, "unseen": 0, "expected": 0.0}
    done = 0
    for _, result in manifest.results():
        done += 1
        for name in sums:
            sums[name] += result[name]
    problems = chain(_left_out(pack, manifest), _twice(out, pack))
    count, first = _write_problems(out / PROBLEMS, problems)
    return Predicted(
        places=int(sums["places"]),
        decided=int(sums["decided"]),
        unseen=int(sums["unseen"]),
        expected=sums["expected"],
        shards=len(pack.shards),
        shards_done=done,
        problems=count,
        first_problems=first,
    )


def _left_out(pack: Pack, manifest: Manifest) -> Iterator[Problem]:
    for failure in manifest.failures():
        yield Problem(pack.shards[int(failure.name)].name, failure.error)
    for _, result in manifest.results():
        yield from (Problem(*problem) for problem in result["problems"])


def _twice(out: Path, pack: Pack) -> Iterator[Problem]:
    """Names of places that come more than once."""

    def read() -> Iterator[tuple[int, list[str]]]:
        for number in range(len(pack.shards)):
            path = part_of_shard(out, number)
            for batch in read_part(path, ["chip_id"]) if path.is_file() else ():
                yield number, batch["chip_id"].to_pylist()

    for name, numbers in repeated(read):
        where = ", ".join(pack.shards[number].name for number in numbers)
        yield Problem(
            name, f"{len(numbers)} places have that id ({where}); all are in the results."
        )


def _write_problems(path: Path, problems: Iterator[Problem]) -> tuple[int, tuple[Problem, ...]]:
    """Write what was left out, if anything was; how much, and the first of it."""
    first = tuple(islice(problems, _TOLD))
    if not first:
        path.unlink(missing_ok=True)
        return 0, ()
    count = 0
    with writing(path) as aside, aside.open("w", encoding="utf-8", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(Problem._fields)
        for problem in chain(first, problems):
            rows.writerow(problem)
            count += 1
    return count, first
