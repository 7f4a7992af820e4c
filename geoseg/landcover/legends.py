"""Legends of land cover, and what a class of one is in another.

Two legends seldom cut the world alike. Each class is a node of one hierarchy (legends.toml), which
stands for all that lies below it. A class becomes the class of another legend that holds all of it;
where none does, it stays unresolved, with the classes that it may be.
"""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any

import numpy as np

from geoseg.errors import LabelError, nearest
from geoseg.labels import IGNORE

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

__all__ = [
    "UNRESOLVED",
    "CoverClass",
    "Legend",
    "Translation",
    "find_legend",
    "load_legends",
    "translate",
    "translation",
]

UNRESOLVED = 254  # in a translated map: more than one class of the legend may be meant
_COLOUR_OF_UNRESOLVED = "#ffffff"


@dataclass(frozen=True, slots=True, kw_only=True)
class CoverClass:
    """One class of a legend."""

    code: int  # in a map, 0 to 253
    name: str
    colour: str  # '#1f78b4'
    node: str  # of the hierarchy
    leaves: frozenset[str]  # nodes below it that have none below them; itself where it has none


@dataclass(frozen=True, slots=True, kw_only=True)
class Legend:
    """The classes of a map; none overlaps another."""

    name: str
    title: str
    source: str
    classes: tuple[CoverClass, ...]

    @property
    def codes(self) -> tuple[int, ...]:
        """In the order of the classes."""
        return tuple(c.code for c in self.classes)

    @property
    def names(self) -> tuple[str, ...]:
        """In the order of the classes."""
        return tuple(c.name for c in self.classes)

    @property
    def colours(self) -> dict[int, str]:
        """Of each code, of what is unresolved too."""
        return {**{c.code: c.colour for c in self.classes}, UNRESOLVED: _COLOUR_OF_UNRESOLVED}

    def find(self, name: str) -> CoverClass:
        """The class with this name.

        Raises:
            LabelError: there is none; the message names the nearest one.
        """
        for c in self.classes:
            if c.name == name:
                return c
        raise LabelError(
            f"no class named {name!r} in legend {self.name!r}. {nearest(name, self.names)}"
        )

    def indices_of(self, codes: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """The index of the class of each code, of the same shape; 255 stays.

        Raises:
            LabelError: a code that is none of the legend; the message names the nearest one.
        """
        self.require(codes, also=())
        table = np.full(256, IGNORE, dtype=np.uint8)
        table[list(self.codes)] = np.arange(len(self.codes))
        return table[codes]

    def codes_of(self, indices: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """The code of each index of a class, of the same shape; 255 stays."""
        table = np.full(256, IGNORE, dtype=np.uint8)
        table[: len(self.codes)] = self.codes
        return table[indices]

    def require(self, codes: NDArray[np.uint8], *, also: tuple[int, ...]) -> None:
        """Refuse a map with a code that is none of the legend, 255 or one of `also`.

        Raises:
            LabelError: there is one; the message names the nearest code.
        """
        strange = np.setdiff1d(codes, (*self.codes, *also, IGNORE))
        if len(strange):
            near = min(self.classes, key=lambda c: abs(c.code - int(strange[0])))
            raise LabelError(
                f"no class with code {strange[0]} in legend {self.name!r}. Did you mean "
                f"{near.code} ({near.name})? Known: {', '.join(map(str, self.codes))}."
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class Translation:
    """What the classes of one legend are in another."""

    source: Legend
    target: Legend
    to: Mapping[str, str]  # by name of class; what is unresolved is not in it
    unresolved: Mapping[str, tuple[str, ...]]  # the classes that it may be; none where none fits


def load_legends() -> Mapping[str, Legend]:
    """All legends by name: simulated, worldcover, corine-1, corine-2, ipcc."""
    return _load()


def find_legend(name: str) -> Legend:
    """The legend of this name.

    Raises:
        LabelError: there is none; the message names the nearest one.
    """
    legends = load_legends()
    if name not in legends:
        raise LabelError(f"no legend named {name!r}. {nearest(name, legends)}")
    return legends[name]


def translation(source: str, target: str) -> Translation:
    """What each class of a legend is in another.

    **Convention:** a class is that class of the target which holds all that it may be. `cropland`
    of WorldCover is `agricultural areas` of CORINE level 1; of level 2 it may be `arable land`,
    `permanent crops` or `heterogeneous agriculture`, and is unresolved.

    Raises:
        LabelError: no such legend.
    """
    first, second = find_legend(source), find_legend(target)
    to, unresolved = {}, {}
    for c in first.classes:
        holding = next((t for t in second.classes if c.leaves <= t.leaves), None)
        if holding is not None:
            to[c.name] = holding.name
        else:
            unresolved[c.name] = tuple(t.name for t in second.classes if c.leaves & t.leaves)
    return Translation(source=first, target=second, to=to, unresolved=unresolved)


def translate(codes: NDArray[np.uint8], source: str, target: str) -> NDArray[np.uint8]:
    """A map of one legend in another, of the same shape.

    Args:
        codes: of the source legend; `UNRESOLVED` and 255 (no data) stay as they are.
        source: name of its legend.
        target: name of the legend that is wanted.

    Returns:
        Codes of the target legend, and `UNRESOLVED` where it tells apart what the source does not.

    Raises:
        LabelError: no such legend, or a code that is none of the source.
    """
    found = translation(source, target)
    found.source.require(codes, also=(UNRESOLVED,))
    table = np.arange(256, dtype=np.uint8)
    for c in found.source.classes:
        name = found.to.get(c.name)
        table[c.code] = UNRESOLVED if name is None else found.target.find(name).code
    return table[codes]


@cache
def _load() -> Mapping[str, Legend]:
    table = tomllib.loads((files("geoseg.landcover") / "legends.toml").read_text("utf-8"))
    below = _leaves_below(table["nodes"])
    return {name: _legend(name, told, below) for name, told in table["legends"].items()}


def _legend(name: str, told: Mapping[str, Any], below: Mapping[str, frozenset[str]]) -> Legend:
    classes = tuple(CoverClass(**row, leaves=below[row["node"]]) for row in told["classes"])
    return Legend(name=name, title=told["title"], source=told["source"], classes=classes)


def _leaves_below(parents: Mapping[str, list[str]]) -> dict[str, frozenset[str]]:
    """The leaves of each node; a node is told of after its parents."""
    inner = {parent for above in parents.values() for parent in above}
    below: dict[str, frozenset[str]] = {}
    for node in reversed(list(parents)):
        own: frozenset[str] = frozenset() if node in inner else frozenset({node})
        of_children = (below[child] for child, above in parents.items() if node in above)
        below[node] = own.union(*of_children)
    return below
