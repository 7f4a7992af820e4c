"""What results were made of: `results.json`, which all ways of predicting write alike."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from geoseg import __version__
from geoseg.errors import ConfigError
from geoseg.files import write_json
from geoseg.presence.results import RESULTS, parts_of

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from geoseg.models.classifier import ClassifierCheckpoint
    from geoseg.presence.scoring import Verdict

__all__ = ["about_run", "require_same", "short", "unfinished", "write_about"]

_DIGITS = 12  # of a hash, which tell it from another
_MADE_OF = {  # what has to be the same where results are added to, as people call it
    "model": "model",
    "head": "head",
    "pack_digest": "pack",
    "rows_digest": "set of rows",
    "prevalence": "prevalence",
}


def short(sha256: str) -> str:
    """A hash as results and errors name it: its first 12 digits."""
    return sha256[:_DIGITS]


def about_run(
    checkpoint: ClassifierCheckpoint,
    record: Mapping[str, Any],
    verdict: Verdict,
    source: Mapping[str, Any],
) -> dict[str, Any]:
    """What is run, as results.json holds it: all that makes probabilities and dates of logits.

    Args:
        checkpoint: the network.
        record: of what gives the logits: the network, or a head in place of its own.
        verdict: made of that record.
        source: what is looked at: `pack` and `pack_digest`, or `rows`, `rows_digest` and `head`.
    """
    return {
        "geoseg": __version__,
        "model": checkpoint.sha256,
        "target": checkpoint.classifier.spec.target,
        **source,
        "threshold": record.get("threshold") or {"threshold": verdict.threshold},
        "calibration": record.get("calibration"),
        "date_errors": record.get("date_errors"),
        "prevalence": verdict.prevalence,
        "calibrated": verdict.calibration is not None,
    }


def require_same(out: Path, about: Mapping[str, Any]) -> None:
    """Refuse to add to results of something else.

    Raises:
        ConfigError: the folder holds results that were made of something else.
    """
    path = out / RESULTS
    if not path.is_file():
        return
    try:
        there = json.loads(path.read_bytes())
        if "model" not in there:
            raise KeyError("model")
        before = {key: there.get(key) for key in _MADE_OF}
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ConfigError(
            f"{path} is of no prediction ({type(error).__name__}); name another folder."
        ) from error
    for key, what in _MADE_OF.items():
        if before[key] != about.get(key):
            one, other = (
                "none" if value is None else short(str(value))
                for value in (before[key], about.get(key))
            )
            raise ConfigError(
                f"{out} holds results of another {what} ({one}, not {other}); name another folder."
            )


def write_about(out: Path, about: Mapping[str, Any], *, state: str, **figures: object) -> None:
    """Write results.json: before the first shard as `running`, at the end as `done`.

    Args:
        out: folder of the results.
        about: of `about_run`.
        state: running or done.
        figures: what came of it; of a run that begins `shards`, how many there are to be.
    """
    write_json(out / RESULTS, {**about, "state": state, **figures})


def unfinished(results: Path) -> str | None:
    """A sentence on results of which shards are missing; None where all are there.

    Results without a results.json do not tell how many shards there are to be.
    """
    try:
        shards = json.loads((results / RESULTS).read_bytes()).get("shards")
    except (OSError, ValueError, AttributeError):
        return None  # who needs it says so
    done = len(parts_of(results))
    if not isinstance(shards, int) or done >= shards:
        return None
    return (
        f"{done:,} of {shards:,} shards are done: what is told is of these alone. Predict into "
        f"{results} again for the others."
    )
