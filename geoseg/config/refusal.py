"""Why a recipe cannot be used, in one sentence: where, which key, which value, and the way out."""

from __future__ import annotations

import datetime as dt
import json
import re
from difflib import get_close_matches
from itertools import takewhile
from typing import TYPE_CHECKING, Any

from geoseg.config.reference import parts_of, schema_of
from geoseg.config.sections import COLOUR, NAME
from geoseg.errors import nearest

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pydantic import ValidationError
    from pydantic_core import ErrorDetails

    from geoseg.config.sections import Section
    from geoseg.config.strict_yaml import Source
    from geoseg.errors import GeosegError

__all__ = ["shorten", "why_refused", "why_unknown"]

Keys = tuple[str | int, ...]

_MOST_LETTERS = 80
_ALIKE = 0.8  # of two keys, of which one is a slip of the hand
# What is told to people who write YAML, where pydantic speaks of Python.
_WHOLE = "it is a whole number"
_NUMBER = "it is a number"
_DAY = "it is a day, such as 2000-10-30"
_IN_YAML = {
    "int_parsing": _WHOLE,
    "int_parsing_size": _WHOLE,
    "int_from_float": _WHOLE,
    "int_type": _WHOLE,
    "float_parsing": _NUMBER,
    "float_type": _NUMBER,
    "finite_number": _NUMBER,
    "date_type": _DAY,
    "date_parsing": _DAY,
    "date_from_datetime_parsing": _DAY,
    "date_from_datetime_inexact": _DAY,
    "greater_than": "it is more than {gt}",
    "greater_than_equal": "it is at least {ge}",
    "less_than": "it is less than {lt}",
    "less_than_equal": "it is at most {le}",
    "multiple_of": "it is a multiple of {multiple_of}",
    "too_short": "{min_length} at least are needed",
    "too_long": "{max_length} at most can be named",
    "string_pattern_mismatch": "it is of the form {pattern}",
    "bool_parsing": "it is true or false",
    "bool_type": "it is true or false",
    "dict_type": "it holds lines of the form `key: value`, further in",
    "model_type": "it holds lines of the form `key: value`, further in",
    "string_type": "it is text; put it in quotes if it is",
    "tuple_type": "it is a list, such as [a, b]",
    "list_type": "it is a list, such as [a, b]",
}
_FORMS = {
    NAME: "it is lower case letters, digits and _, a letter first, such as debris_ice",
    COLOUR: "it is a colour of six digits in quotes, such as '#1f78b4'",
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
    return f"{where}: {key} = {value} cannot be used: {_reason(problem)}."


def why_unknown(key: str, name: str, error: GeosegError, sources: Sequence[Source]) -> str:
    """What is wrong with a recipe in which nothing is called by the name that a key holds.

    Args:
        key: dotted.
        name: its value.
        error: what says so, with the way out.
        sources: each lies over the one before.
    """
    where = _where(key.split("."), sources)
    return f"{where}: {key} = {shorten(repr(name))} cannot be used: {error}"


def _reason(problem: ErrorDetails) -> str:
    """What the value of a key has to be."""
    limits = problem.get("ctx", {})
    if limits.get("pattern") in _FORMS:
        return _FORMS[limits["pattern"]]
    if problem["type"] in _IN_YAML:
        return _IN_YAML[problem["type"]].format_map(limits)
    return problem["msg"]


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
    if get_close_matches(wrong, known, n=1, cutoff=_ALIKE):
        return nearest(wrong, known)
    names = {key.name for part in parts.values() for key in part.keys}
    meant = [wrong] if wrong in names else get_close_matches(wrong, names, n=1, cutoff=_ALIKE)
    elsewhere = [
        f"{path}.{key.name}" if path else key.name
        for path, part in parts.items()
        for key in part.keys
        if key.name in meant
    ]
    if not elsewhere:
        return nearest(wrong, known)
    return f"Did you mean {' or '.join(map(repr, elsewhere))}?"


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
