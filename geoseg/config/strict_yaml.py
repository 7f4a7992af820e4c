"""YAML from people one does not know: plain values only, within limits, with their lines."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import yaml
from yaml.composer import ComposerError
from yaml.constructor import ConstructorError
from yaml.reader import ReaderError

from geoseg.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

__all__ = ["Source", "parse_value", "parse_yaml", "read_yaml"]

_MAX_BYTES = 2**20
_MAX_DEPTH = 50
_MAX_ALIASES = 100
# Ten aliases of ten aliases, ten times over, are a page of YAML and 10^10 values.
_MAX_VALUES = 20_000
# Of one value: PyYAML reads 1:59:59:... to the base of 60 in a time that grows with its square.
_MAX_LETTERS = 10_000
_TEXT = "tag:yaml.org,2002:str"
_MERGE = "tag:yaml.org,2002:merge"


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """Keys of a recipe that were written in one place: a file, or an option of the command line."""

    name: str
    values: dict[str, Any]
    root: yaml.Node | None = None  # of a file: it knows the lines

    def where(self, keys: Sequence[str | int]) -> str:
        """The place of a key, or of the last of its parents that is written here.

        Args:
            keys: from the outermost one; of an item of a list, its number from 0.

        Returns:
            `mine.yaml, line 3, column 5`, counted from 1; the name alone of what has no lines.
        """
        node, mark = self.root, None
        for key in keys:
            found = _child(node, key)
            if found is None:
                break
            node, mark = found
        return self.name if mark is None else f"{self.name}, {_place(mark)}"


def read_yaml(path: Path) -> Source:
    """The mapping in a YAML file.

    Raises:
        ConfigError: no such file, over the limits, not YAML, or no mapping.
    """
    try:
        with path.open("rb") as file:  # no more of it, whatever it is
            content = file.read(_MAX_BYTES + 1)
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}.") from error
    if len(content) > _MAX_BYTES:
        raise ConfigError(f"{path} is larger than 1 MiB; a recipe is a page of YAML.")
    try:
        text = content.decode()
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise ConfigError(
            f"{path}, line {line} is not UTF-8 text; a recipe is a page of YAML."
        ) from error
    return parse_yaml(text, where=str(path))


def parse_yaml(text: str, *, where: str) -> Source:
    """The mapping in a YAML text; `where` names it in errors.

    Raises:
        ConfigError: over the limits, not YAML, or no mapping.
    """
    try:
        value, root = _loaded(text)
    except yaml.YAMLError as error:
        place = _place_of(error, text)
        named = where if place is None else f"{where}, {place}"
        raise ConfigError(f"{named} is not valid YAML: {_problem(error)}.") from error
    if not isinstance(value, dict):
        raise ConfigError(f"{where} holds no mapping; write lines of the form `key: value`.")
    return Source(name=where, values=value, root=root)


def parse_value(text: str, *, where: str) -> Any:  # noqa: ANN401  any YAML value
    """The value that a YAML text stands for; `where` names it in errors.

    Raises:
        ConfigError: over the limits, or not YAML.
    """
    try:
        return _loaded(text)[0]
    except yaml.YAMLError as error:
        raise ConfigError(f"{where} is not valid YAML: {_problem(error)}.") from error


def _loaded(text: str) -> tuple[Any, yaml.Node | None]:
    loader = _Loader(text)
    try:
        root = loader.get_single_node()
        return (None if root is None else loader.construct_document(root)), root
    finally:
        loader.dispose()


class _Loader(yaml.SafeLoader):
    """A SafeLoader that refuses deep nesting, alias bombs, repeated keys and keys of no text."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.depth = 0
        self.aliases = 0
        # Of each node that is complete: how many values it unfolds to, and how deep they lie.
        self.sizes: dict[yaml.Node, tuple[int, int]] = {}

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:  # noqa: ANN401
        event = self.peek_event()  # type: ignore[no-untyped-call]
        alias = isinstance(event, yaml.AliasEvent)
        self.aliases += alias
        self.depth += 1
        if self.depth > _MAX_DEPTH or self.aliases > _MAX_ALIASES:
            raise _refused(
                f"more than {_MAX_DEPTH} levels or {_MAX_ALIASES} aliases", event.start_mark
            )
        node = super().compose_node(parent, index)
        self.depth -= 1
        if len(self.sizes) > _MAX_VALUES:
            raise _refused(f"more than {_MAX_VALUES} values", event.start_mark)
        if node is not None and node not in self.sizes:
            if alias:
                raise _refused("an alias within what it stands for", event.start_mark)
            self._measure(node)
        return node

    def _measure(self, node: yaml.Node) -> None:
        if isinstance(node, yaml.ScalarNode):
            if len(node.value) > _MAX_LETTERS:
                raise _refused(f"more than {_MAX_LETTERS} letters in a value", node.start_mark)
            self.sizes[node] = (1, 1)
            return
        if isinstance(node, yaml.MappingNode):
            _require_keys(node)
        inner = [self.sizes[child] for child in _children(node)]
        size = 1 + sum(size for size, _ in inner)
        depth = 1 + max((depth for _, depth in inner), default=0)
        if size > _MAX_VALUES or depth > _MAX_DEPTH:
            limits = f"{_MAX_VALUES} values or {_MAX_DEPTH} levels"
            raise _refused(f"more than {limits}, aliases unfolded", node.start_mark)
        self.sizes[node] = (size, depth)

    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:  # noqa: ANN401
        try:
            return super().construct_object(node, deep)
        except (ValueError, LookupError, AttributeError, TypeError) as error:
            # A date of month 13; a word behind a tag of another type, such as `!!int no`.
            problem = f"{str(node.value)[:80]!r} cannot be read as what it looks like ({error})"
            raise ConstructorError(None, None, problem, node.start_mark) from error


def _require_keys(node: yaml.MappingNode) -> None:
    """Refuse what a mapping names twice, and keys that are no text."""
    first: dict[str, yaml.Mark] = {}
    for key, _ in node.value:
        if key.tag not in (_TEXT, _MERGE):
            written = f"{key.value!r}" if isinstance(key, yaml.ScalarNode) else "a list or mapping"
            raise _refused(f"a key that is no text: {written}; put it in quotes", key.start_mark)
        if key.value in first:
            raise _refused(
                f"key {key.value!r} twice in one mapping, first at {_place(first[key.value])}",
                key.start_mark,
            )
        first[key.value] = key.start_mark


def _children(node: yaml.Node) -> list[yaml.Node]:
    if isinstance(node, yaml.MappingNode):
        return [child for pair in node.value for child in pair]
    return list(node.value)


def _child(node: yaml.Node | None, key: str | int) -> tuple[yaml.Node, yaml.Mark] | None:
    """What stands below a key or number, and where that begins."""
    if isinstance(node, yaml.SequenceNode) and isinstance(key, int) and key < len(node.value):
        return node.value[key], node.value[key].start_mark
    if isinstance(node, yaml.MappingNode):
        # The last one counts: what a mapping takes over by << stands before its own.
        for name, value in reversed(node.value):
            if name.value == key:
                return value, name.start_mark
    return None


def _refused(problem: str, mark: yaml.Mark) -> yaml.MarkedYAMLError:
    return ComposerError(None, None, problem, mark)


def _place_of(error: yaml.YAMLError, text: str) -> str | None:
    if isinstance(error, yaml.MarkedYAMLError) and error.problem_mark is not None:
        return _place(error.problem_mark)
    if isinstance(error, ReaderError):
        before = text[: error.position]
        return f"line {before.count(chr(10)) + 1}, column {len(before) - before.rfind(chr(10))}"
    return None


def _place(mark: yaml.Mark) -> str:
    return f"line {mark.line + 1}, column {mark.column + 1}"


def _problem(error: yaml.YAMLError) -> str:
    if isinstance(error, yaml.MarkedYAMLError) and error.problem is not None:
        return error.problem
    if isinstance(error, ReaderError):
        return f"character #x{error.character:04x} is not allowed in YAML"
    return str(error).splitlines()[0]
