"""What a pack is made from, beside places at hand."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from geoseg.presence.packs.folder import read_chips
from geoseg.presence.packs.points import cut_chips

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from geoseg.presence.packs.folder import ChipFile, Described
    from geoseg.presence.packs.pack import Foreign, Problem
    from geoseg.presence.packs.points import Point
    from geoseg.presence.packs.stored import StoredPlace
    from geoseg.scenes import Scene

__all__ = ["Chips", "Points", "Shards"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Chips:
    """Files of chips in a folder, those of one shard or of all."""

    folder: Path
    files: Sequence[ChipFile]
    described: Described

    def __len__(self) -> int:
        return len(self.files)

    def part(self, first: int, end: int) -> Chips:
        """Some of them."""
        files = self.files[first:end]
        return Chips(folder=self.folder, files=files, described=self.described)

    @property
    def origin(self) -> str:
        """Where they come from."""
        return str(self.folder.resolve())

    def fingerprint(self) -> Any:  # noqa: ANN401  any JSON value
        """Changes when anything of them does, or of their masks."""
        return [self.origin, repr(self.described), [repr(f) for f in self.files]]

    def places(self) -> Iterator[StoredPlace | Problem]:
        """What they hold, one after the other."""
        return read_chips(self.folder, list(self.files), self.described)


@dataclass(frozen=True, slots=True, kw_only=True)
class Points:
    """Points, and scenes that may show them."""

    path: Path  # of the file of points
    points: Sequence[Point]
    scenes: Sequence[tuple[Scene, ...]]  # of each point
    bands: tuple[str, ...] | None
    size_px: int

    def __len__(self) -> int:
        return len(self.points)

    def part(self, first: int, end: int) -> Points:
        """Some of them."""
        return Points(
            path=self.path,
            points=self.points[first:end],
            scenes=self.scenes[first:end],
            bands=self.bands,
            size_px=self.size_px,
        )

    @property
    def origin(self) -> str:
        """Where they come from."""
        return str(self.path.resolve())

    def fingerprint(self) -> Any:  # noqa: ANN401  any JSON value
        """Changes when anything of them does but the pixels of the scenes."""
        numbers: dict[str, int] = {}  # of scenes as they are described: ids may be equal
        shown = [
            [numbers.setdefault(repr(scene), len(numbers)) for scene in scenes]
            for scenes in self.scenes
        ]
        points = [repr(point) for point in self.points]
        return [points, shown, list(numbers), self.bands, self.size_px]

    def places(self) -> Iterator[StoredPlace | Problem]:
        """What is cut around them, one after the other."""
        return cut_chips(self.points, self.scenes, self.bands, self.size_px)


@dataclass(frozen=True, slots=True, kw_only=True)
class Shards:
    """Shards of somebody else, which stay where they are."""

    paths: Sequence[Path]
    foreign: Foreign | None

    @property
    def origin(self) -> str:
        """Where they lie."""
        return str(self.paths[0].parent.resolve())
