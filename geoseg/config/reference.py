"""The keys of recipes: as a JSON schema for editors, and as tables for people."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pydantic.json_schema import GenerateJsonSchema

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from geoseg.config.sections import Section

__all__ = ["Key", "Part", "as_markdown", "parts_of", "schema_of"]

DIALECT = "https://json-schema.org/draft/2020-12/schema"
# How the name of a key ends that has a unit.
_UNITS = {
    "_m_per_year": "m/year",
    "_m2": "m2",
    "_m": "m",
    "_px": "px",
    "_days": "days",
    "_years": "years",
}
_TYPES = {
    "boolean": "true or false",
    "integer": "whole number",
    "number": "number",
    "object": "mapping",
    "string": "text",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Key:
    """A key of a recipe, as it is told to people."""

    name: str
    kind: str  # whole number, list of text, section: training
    default: str  # as YAML; empty where it has to be named, or is a section
    allowed: str  # unit, range, choices
    meaning: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """A section of a recipe: the keys that may stand at one or several of its places."""

    paths: tuple[str, ...]  # dotted; "" is the recipe itself, `series[]` each item of a list
    meaning: str
    keys: tuple[Key, ...]


class _Plain(GenerateJsonSchema):
    """Without titles that only repeat the keys."""

    schema_dialect = DIALECT

    def field_title_should_be_set(self, schema: Any) -> bool:  # noqa: ANN401, ARG002  pydantic's own
        return False


def schema_of(
    kind: type[Section], defaults: Mapping[str, Any] | None = None, title: str = ""
) -> dict[str, Any]:
    """The JSON schema (draft 2020-12) of a kind of recipe.

    Beside the words of the standard a key can have `unit`.

    Args:
        kind: of recipe.
        defaults: of the recipe that ships, where they differ from those of the kind.
        title: the recipe's name to people.
    """
    made = kind.model_json_schema(schema_generator=_Plain)
    made["title"] = title or made["title"]
    for part in (made, *made.get("$defs", {}).values()):
        if part is not made:
            part.pop("title", None)
        _tidy(part)
        for name, key in part.get("properties", {}).items():
            _tidy(key)
            if unit := next((unit for end, unit in _UNITS.items() if name.endswith(end)), None):
                key["unit"] = unit
    _put_defaults(made, made, defaults or {})
    return {"$schema": DIALECT, **made}


def _tidy(described: dict[str, Any]) -> None:
    if "description" in described:
        described["description"] = " ".join(described["description"].split())


def _put_defaults(
    schema: dict[str, Any], part: dict[str, Any], defaults: Mapping[str, Any]
) -> None:
    for name, value in defaults.items():
        key = part["properties"][name]
        if isinstance(value, dict):
            key["default"] = {**(key.get("default") or {}), **value}
            _put_defaults(schema, _inner(schema, key), value)
        else:
            key["default"] = value


def parts_of(schema: Mapping[str, Any]) -> list[Part]:
    """The sections of a recipe in their order, each once: first the recipe itself.

    Args:
        schema: of `schema_of`.
    """
    paths: dict[int, list[str]] = {}
    parts: dict[int, dict[str, Any]] = {}
    for path, part in _walk(schema, dict(schema), "", ()):
        paths.setdefault(id(part["properties"]), []).append(path)
        parts[id(part["properties"])] = part
    return [
        Part(
            paths=tuple(paths[which]),
            meaning=part.get("description", ""),
            keys=tuple(
                _key(schema, name, key, needed=name in part.get("required", ()))
                for name, key in part["properties"].items()
            ),
        )
        for which, part in parts.items()
    ]


def _walk(
    schema: Mapping[str, Any], part: dict[str, Any], path: str, above: tuple[int, ...]
) -> Iterator[tuple[str, dict[str, Any]]]:
    yield path, part
    for name, key in part["properties"].items():
        below = f"{path}.{name}" if path else name
        for option in _options(key):
            if option.get("type") == "array" and "items" in option:
                option, below = option["items"], f"{below}[]"
            inner = _inner(schema, option)
            # A section may hold itself: told once.
            if "properties" in inner and id(inner) not in above:
                yield from _walk(schema, inner, below, (*above, id(inner)))


def _options(key: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """What a key can be, beside null."""
    return [one for one in key.get("anyOf", [key]) if one.get("type") != "null"]


def _inner(schema: Mapping[str, Any], key: Mapping[str, Any]) -> dict[str, Any]:
    """The section that a key holds; empty where it holds none."""
    named = next((one["$ref"] for one in _options(key) if "$ref" in one), None)
    return {} if named is None else schema["$defs"][named.rsplit("/", 1)[-1]]


def _key(schema: Mapping[str, Any], name: str, key: Mapping[str, Any], *, needed: bool) -> Key:
    options = _options(key)
    section = _inner(schema, key)
    allowed = [key["unit"]] if "unit" in key else []
    allowed += [text for one in options for text in _allowed(one)]
    return Key(
        name=name,
        kind=" or ".join(dict.fromkeys(map(_kind, options))),
        default="needed" if needed else "" if section else _as_yaml(key.get("default")),
        allowed=", ".join(allowed),
        meaning=key.get("description", section.get("description", "")),
    )


def _kind(one: Mapping[str, Any]) -> str:
    if "$ref" in one:
        return "section"
    if "enum" in one or "const" in one:
        return "choice"
    if "prefixItems" in one:
        return f"list of {len(one['prefixItems'])}: {_kind(one['prefixItems'][0])} each"
    if one.get("type") == "array":
        return f"list: {_kind(one.get('items', {}))} each"
    if isinstance(one.get("additionalProperties"), dict):
        return f"mapping: {_kind(one['additionalProperties'])} each"
    if "format" in one:
        return str(one["format"])
    return _TYPES.get(one.get("type", ""), "any")


def _allowed(one: Mapping[str, Any]) -> Iterator[str]:
    bounds = [
        f"{sign} {_number(one[word])}"
        for word, sign in (
            ("minimum", ">="),
            ("exclusiveMinimum", ">"),
            ("maximum", "<="),
            ("exclusiveMaximum", "<"),
        )
        if word in one
    ]
    if bounds:
        yield " and ".join(bounds)
    if "multipleOf" in one:
        yield f"a multiple of {_number(one['multipleOf'])}"
    if choices := one.get("enum", [one["const"]] if "const" in one else []):
        yield ", ".join(f"`{choice}`" for choice in choices)
    if "pattern" in one:
        yield f"of the form `{one['pattern']}`"
    if one.get("minItems") and "prefixItems" not in one:
        yield f"{one['minItems']} at least"
    if "items" in one:
        yield from _allowed(one["items"])


def _number(value: float) -> str:
    return json.dumps(value).removesuffix(".0")


def _as_yaml(value: Any) -> str:  # noqa: ANN401  any JSON value
    if isinstance(value, str):
        return value or '""'
    if isinstance(value, list):
        return f"[{', '.join(map(_as_yaml, value))}]"
    return json.dumps(value)


def as_markdown(schema: Mapping[str, Any], *, level: int = 3) -> str:
    """A table of the keys of each section of a recipe.

    Args:
        schema: of `schema_of`.
        level: of the headings of sections.
    """
    blocks = []
    for part in parts_of(schema):
        places = ", ".join(f"`{path}`" for path in part.paths if path) or "The recipe itself"
        rows = "\n".join(_row(key) for key in part.keys)
        head = "| key | type | default | unit, range | what it is |\n|---|---|---|---|---|"
        blocks.append(f"{'#' * level} {places}\n\n{part.meaning}\n\n{head}\n{rows}\n")
    return "\n".join(blocks)


def _row(key: Key) -> str:
    default = f"`{key.default}`" if key.default not in ("", "needed") else key.default
    cells = (f"`{key.name}`", key.kind, default, key.allowed, key.meaning)
    return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"
