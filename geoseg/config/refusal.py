"""Why a recipe cannot be used, in one sentence: where, which key, which value, and the way out."""

from __future__ import annotations

import datetime as dt
import json
import re
from difflib import get_close_matches
from itertools import takewhile
from typing import TYPE_CHECKING, Any

from geoseg.config.reference import parts_of, schema_of
from geoseg.errors import nearest

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pydantic import ValidationError
    from pydantic_core import ErrorDetails

    from geoseg.config.sections import Section
    from geoseg.config.strict_yaml import Source

__all__ = ["shorten", "why_refused"]

Keys = tuple[str | int, ...]

_MOST_LETTERS = 80
# What is told to people who write YAML, where pydantic speaks of Python.
_IN_YAML = {
    "bool_parsing": "it is true or false",
    "bool_type": "it is true or false",
    "dict_type": "it holds lines of the form `key: value`, further in",
    "model_type": "it holds lines of the form `key: value`, further in",
    "string_type": "it is text; put it in quotes if it is",
    "tuple_type": "it is a list, such as [a, b]",
    "list_type": "it is a list, such as [a, b]",
}


def why_refused(error: ValidationError, sources: Sequence[Source], kind: type[Section]) -> str:
    """What is wrong with a recipe, of all that is wrong the first.

    Args:
        error: of the recipe that the sources make together.
        sources: each lies over the one before.
        kind: of recipe.
    """
    # An unknown key explains the missing one that follows from it.
    problem = min(error.errors(), key=lambda p: p["type"] != "extra_forbidden")
    keys = problem["loc"]
    key, where = shorten(_dotted(keys)), _where(keys, sources)
    value = shorten(_as_written(problem["input"]))
    match problem["type"]:
        case "extra_forbidden":
            return f"{where} has the unknown key {key!r}. {_nearest_key(keys, kind)}"
        case "missing":
            return f"{where} lacks {key}. {_meaning(keys, kind)}".rstrip()
        case "literal_error" if known := _choices(problem):
            hint = nearest(str(problem["input"]), known)
            return f"{where}: {key} = {value} cannot be used. {hint}"
        case "value_error":
            reason = problem["msg"].removeprefix("Value error, ")
            return f"{_where_of_rule(keys, reason, sources)}: {reason}."
    reason = _IN_YAML.get(problem["type"], problem["msg"])
    return f"{where}: {key} = {value} cannot be used: {reason}."


def _as_written(value: Any) -> str:  # noqa: ANN401  any YAML value
    if value is None or isinstance(value, bool):
        return json.dumps(value)
    return str(value) if isinstance(value, dt.date) else repr(value)


def shorten(text: str) -> str:
    """A text that has its place in a sentence, its end left out when it is long."""
    return text if len(text) <= _MOST_LETTERS else f"{text[:_MOST_LETTERS]}..."


def _where(keys: Sequence[str | int], sources: Sequence[Source]) -> str:
    """The place of a key in the source whose value of it counts."""
    counting: list[tuple[Source, Any]] = [(one, one.values) for one in reversed(sources)]
    for key in keys:
        below = [(source, values[key]) for source, values in counting if _holds(values, key)]
        if not below:
            break
        # Mappings are merged; anything else hides what lies under it.
        merged = list(takewhile(lambda one: isinstance(one[1], dict), below))
        counting = merged or below[:1]
    return counting[0][0].where(keys) if counting else "The recipe"


def _where_of_rule(keys: Keys, reason: str, sources: Sequence[Source]) -> str:
    """The place of a rule between keys: of those that the reason names, the one written last."""
    words = [tuple(word.split(".")) for word in re.findall(r"[a-z][a-z0-9_.]*[a-z0-9]", reason)]
    named = [path for word in words for path in ((*keys, *word), word)]
    for source in reversed(sources):
        for path in named:
            if _reaches(source.values, path):
                return source.where(path)
    return _where(keys, sources)


def _reaches(values: Any, keys: Sequence[str | int]) -> bool:  # noqa: ANN401  a tree of YAML
    for key in keys:
        if not _holds(values, key):
            return False
        values = values[key]
    return True


def _holds(values: Any, key: str | int) -> bool:  # noqa: ANN401  a tree of YAML
    if isinstance(values, dict):
        return key in values
    return isinstance(values, list) and isinstance(key, int) and key < len(values)


def _dotted(keys: Sequence[str | int]) -> str:
    return ".".join(map(str, keys))


def _pattern(keys: Sequence[str | int]) -> str:
    """Of `series.0.path`, what the reference calls it: `series[].path`."""
    return re.sub(r"\.\d+(?=\.|$)", "[]", _dotted(keys))


def _nearest_key(keys: Keys, kind: type[Section]) -> str:
    parent, wrong = _pattern(keys[:-1]), str(keys[-1])
    parts = {path: part for part in parts_of(schema_of(kind)) for path in part.paths}
    known = [key.name for key in parts[parent].keys] if parent in parts else []
    elsewhere = [
        f"{path}.{wrong}" if path else wrong
        for path, part in parts.items()
        if wrong in {key.name for key in part.keys}
    ]
    if elsewhere and not get_close_matches(wrong, known, n=1, cutoff=0.8):
        return f"Did you mean {' or '.join(map(repr, elsewhere))}?"
    return nearest(wrong, known)


def _meaning(keys: Keys, kind: type[Section]) -> str:
    parent, wanted = _pattern(keys[:-1]), keys[-1]
    meanings = {
        (path, key.name): key.meaning
        for part in parts_of(schema_of(kind))
        for path in part.paths
        for key in part.keys
    }
    return meanings.get((parent, str(wanted)), "")


def _choices(problem: ErrorDetails) -> list[str]:
    """Words that a key can be, where it can be one of several words."""
    return re.findall(r"'([^']*)'", problem.get("ctx", {}).get("expected", ""))
