"""The classes of a map."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from geoseg.errors import LabelError, nearest

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["GLACIER", "GLACIER_SURFACE", "IGNORE", "ClassScheme", "MapClass"]

IGNORE = 255  # in a class raster: no data, or not to be learned from or scored

_NAME = re.compile(r"[a-z][a-z0-9_]{0,62}")
_COLOUR = re.compile(r"#[0-9a-f]{6}")


@dataclass(frozen=True, slots=True, kw_only=True)
class MapClass:
    """One class: its number in a raster, its name, its colour, and the class it belongs to."""

    id: int  # 0 to 254
    name: str  # lower case letters, digits and underscores
    colour: str  # '#1f78b4'
    parent: str | None = None  # debris_ice is ice

    def __post_init__(self) -> None:
        if not 0 <= self.id < IGNORE:
            raise LabelError(f"Class {self.name!r} has id = {self.id}; use 0 to {IGNORE - 1}.")
        if not _NAME.fullmatch(self.name):
            raise LabelError(
                f"{self.name!r} is no class name; use lower case letters, digits and _."
            )
        if not _COLOUR.fullmatch(self.colour):
            raise LabelError(
                f"Class {self.name!r} has colour = {self.colour!r}; write it as '#1f78b4'."
            )


@dataclass(frozen=True, slots=True)
class ClassScheme:
    """The classes of a map in the order of their ids, which run from 0. Class 0 is the ground.

    The ground is what is mapped as nothing: it becomes no outline.
    """

    classes: tuple[MapClass, ...]

    def __post_init__(self) -> None:
        if len(self.classes) < 2:
            raise LabelError("A class scheme needs the ground and at least one class beside it.")
        if [c.id for c in self.classes] != list(range(len(self.classes))):
            raise LabelError(
                f"Class ids are {[c.id for c in self.classes]}; number them from 0 in order."
            )
        names = self.names
        if len(set(names)) < len(names):
            raise LabelError(f"Class names are {list(names)}; each may occur once.")
        for c in self.classes:
            if c.parent is not None and c.parent not in names:
                raise LabelError(
                    f"Class {c.name!r} has parent {c.parent!r}. {nearest(c.parent, names)}"
                )

    @classmethod
    def of(cls, colours: Mapping[str, str]) -> ClassScheme:
        """A scheme of these names and colours, in their order, after the ground."""
        classes = (
            MapClass(id=i, name=name, colour=colour)
            for i, (name, colour) in enumerate(colours.items(), start=1)
        )
        return cls((_GROUND, *classes))

    @property
    def names(self) -> tuple[str, ...]:
        """Names in the order of ids."""
        return tuple(c.name for c in self.classes)

    @property
    def foreground(self) -> tuple[MapClass, ...]:
        """The classes that become outlines: all but the ground."""
        return self.classes[1:]

    def find(self, name: str) -> MapClass:
        """The class with this name.

        Raises:
            LabelError: there is none.
        """
        for c in self.classes:
            if c.name == name:
                return c
        raise LabelError(f"no class named {name!r}. {nearest(name, self.names)}")


_GROUND = MapClass(id=0, name="ground", colour="#b8a58c")

# What RGI and GLIMS outlines hold: debris-covered ice is inside them and not told apart.
GLACIER = ClassScheme.of({"glacier": "#4aa8d8"})

GLACIER_SURFACE = ClassScheme.of(
    {
        "clean_ice": "#7fd0ee",
        "debris_ice": "#8c6d46",
        "supraglacial_lake": "#1f4fd8",
        "proglacial_lake": "#123a8c",
        "thaw_slump": "#d2572b",
        "other_lake": "#6f8fd6",
    }
)
