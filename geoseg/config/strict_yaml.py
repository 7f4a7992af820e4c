"""YAML from people one does not know: plain values only, within limits."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import yaml

from geoseg.errors import ConfigError

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["parse_yaml", "read_yaml"]

_MAX_BYTES = 2**20
_MAX_DEPTH = 50
_MAX_ALIASES = 100


def read_yaml(path: Path) -> dict[str, Any]:
    """The mapping in a YAML file.

    Raises:
        ConfigError: no such file, over the limits, not YAML, or no mapping.
    """
    try:
        if path.stat().st_size > _MAX_BYTES:
            raise ConfigError(f"{path} is larger than 1 MiB; a recipe is a page of YAML.")
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}.") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path} is not UTF-8 text; a recipe is a page of YAML.") from error
    return parse_yaml(text, where=str(path))


def parse_yaml(text: str, *, where: str) -> dict[str, Any]:
    """The mapping in a YAML text; `where` names it in errors."""
    try:
        value = yaml.load(text, Loader=_Loader)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        # A date of month 13 is a ValueError.
        raise ConfigError(f"{where} is not valid YAML: {_short(error)}.") from error
    if not isinstance(value, dict):
        raise ConfigError(f"{where} holds no mapping; write lines of the form `key: value`.")
    return value


class _Loader(yaml.SafeLoader):
    """A SafeLoader that refuses deep nesting, alias bombs and repeated keys."""

    depth = 0
    aliases = 0

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:  # noqa: ANN401
        if self.check_event(yaml.AliasEvent):
            self.aliases += 1
        self.depth += 1
        if self.depth > _MAX_DEPTH or self.aliases > _MAX_ALIASES:
            raise yaml.YAMLError(f"more than {_MAX_DEPTH} levels or {_MAX_ALIASES} aliases")
        node = super().compose_node(parent, index)
        self.depth -= 1
        return node

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        keys = [key.value for key, _ in node.value]
        if repeated := {str(key) for key in keys if keys.count(key) > 1}:
            line = node.start_mark.line + 1
            raise yaml.YAMLError(f"key {sorted(repeated)[0]!r} twice in the mapping at line {line}")
        return super().construct_mapping(node, deep)


def _short(error: Exception) -> str:
    if isinstance(error, yaml.MarkedYAMLError) and error.problem_mark is not None:
        return f"{error.problem} in line {error.problem_mark.line + 1}"
    return str(error).splitlines()[0]
