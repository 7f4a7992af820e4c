"""Which kind of recipe a command reads, found by its name."""

from __future__ import annotations

from importlib.metadata import EntryPoint, entry_points
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from geoseg.config.reference import schema_of
from geoseg.config.sections import Section
from geoseg.config.strict_yaml import parse_yaml
from geoseg.errors import ConfigError, nearest

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["find_kind", "find_kinds", "schema_by_name"]


def find_kinds() -> dict[str, EntryPoint]:
    """By the name of a command, where its kind of recipe is: of geoseg and of other packages."""
    return {one.name: one for one in sorted(entry_points(group="geoseg.recipe_kinds"))}


def find_kind(name: str) -> type[Section]:
    """The kind of recipe that a command reads.

    Raises:
        ConfigError: no such command, or it names no subclass of Section.
    """
    kinds = find_kinds()
    if name not in kinds:
        raise ConfigError(f"There are no recipes of {name!r}. {nearest(name, kinds)}")
    kind = kinds[name].load()
    if not (isinstance(kind, type) and issubclass(kind, Section)):
        raise ConfigError(
            f"{name} names {kinds[name].value} as its kind of recipe, which is no "
            "geoseg.config.Section; mend its entry point in geoseg.recipe_kinds."
        )
    return kind


def schema_by_name(name: str) -> dict[str, Any]:
    """The JSON schema of the recipes of a command, with the defaults of the one that it ships.

    Raises:
        ConfigError: no such command, or it names no subclass of Section.
    """
    return schema_of(find_kind(name), _defaults(name), f"A recipe of geoseg {name}")


def _defaults(name: str) -> Mapping[str, Any]:
    """Of the recipe.yaml beside the commands, where there is one."""
    for app in entry_points(group="geoseg.recipes", name=name):
        shipped = files(app.module.rpartition(".")[0]) / "recipe.yaml"
        if shipped.is_file():
            return parse_yaml(shipped.read_text(encoding="utf-8"), where=str(shipped)).values
    return {}
