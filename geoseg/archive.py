"""Archives: their scenes one by one, a folder for each, and what is told of them as they end.

Nothing here grows with the number of scenes but the names of their folders.
"""

from __future__ import annotations

import json
import tempfile
from array import array
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, NamedTuple, Protocol, Self, TypeVar

from pydantic import ValidationError

from geoseg.config import SceneSettings
from geoseg.data import describe_scene
from geoseg.errors import ConfigError, GeosegError, SceneError
from geoseg.files import plain_name
from geoseg.scenes import BrokenEntry, count_rows, stream_catalog
from geoseg.terminal import note, progress

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from geoseg.scenes import Scene

__all__ = [
    "End",
    "Ends",
    "Folders",
    "LeftOut",
    "Listed",
    "SceneList",
    "Telling",
    "find_scene",
    "find_scenes",
]

_LONGEST_NAME = 200
_SHOWN = 200  # scenes in a table for a person; --json has all


class Listed(NamedTuple):
    """A scene of an archive."""

    number: int  # in the order of the archive
    scene: Scene
    folder: str  # a name that no other scene of the archive has


class LeftOut(NamedTuple):
    """A scene of an archive that nothing can be made of."""

    number: int
    scene: str
    error: str  # one sentence


@dataclass(frozen=True, slots=True, kw_only=True)
class SceneList:
    """Scenes to work on: one, or those of a catalogue, read as they are asked for."""

    count: int  # of the rows of a catalogue, those that cannot be read too
    scene: Scene | None = None
    catalog: Path | None = None

    @property
    def is_alone(self) -> bool:
        """Whether it is a scene that was named by itself: if it fails, all does."""
        return self.scene is not None

    def __iter__(self) -> Iterator[Scene | BrokenEntry]:
        """The scenes, and rows that describe none.

        Raises:
            SceneError: the catalogue is damaged, which may be seen after many rows.
        """
        if self.scene is not None:
            yield self.scene
        elif self.catalog is not None:
            for row in stream_catalog(self.catalog):
                yield row if isinstance(row, BrokenEntry) else row.scene

    def listed(self) -> Iterator[Listed | LeftOut]:
        """The scenes with folders of their own; one whose folder is another's is left out."""
        folders, number = Folders(), -1
        try:
            for number, one in enumerate(self):
                yield _listed(number, one, folders)
        except SceneError as error:  # those before it are done none the less
            yield LeftOut(number + 1, str(self.catalog), f"It cannot be read further: {error}")


def _listed(number: int, one: Scene | BrokenEntry, folders: Folders) -> Listed | LeftOut:
    if isinstance(one, BrokenEntry):
        return LeftOut(-1, one.id, one.reason)  # told of before all scenes
    try:
        return Listed(number, one, folders.of(one))
    except SceneError as error:
        return LeftOut(number, one.id, str(error))


class Folders:
    """A folder name for each scene: its id without what would lead elsewhere."""

    def __init__(self) -> None:
        self._taken: set[str] = set()

    def of(self, scene: Scene) -> str:
        """The name for a scene.

        Raises:
            SceneError: another scene has it.
        """
        name = plain_name(scene.id, longest=_LONGEST_NAME)
        if name.lower() in self._taken:  # some file systems know no capitals
            raise SceneError(
                f"Another scene goes to the folder {name!r} of {scene.id} already; give each scene "
                "an id of its own."
            )
        self._taken.add(name.lower())
        return name


def find_scenes(
    scene: Path | None, catalog: Path | None, described: Mapping[str, Any]
) -> SceneList:
    """One scene, or those of a catalogue.

    Args:
        scene: a STAC item or a raster file.
        catalog: STAC GeoParquet.
        described: sensor, bands and date of a raster file; None where not given.

    Raises:
        ConfigError: neither is named, or both.
        SceneError: it cannot be read.
    """
    if (scene is None) == (catalog is None):
        raise ConfigError("Name either one image (--scene) or a catalogue of scenes.")
    if scene is not None:
        return SceneList(count=1, scene=find_scene(scene, described))
    assert catalog is not None
    _refuse_described(described)
    return SceneList(count=count_rows(catalog), catalog=catalog)


def find_scene(path: Path, described: Mapping[str, Any]) -> Scene:
    """The scene of a STAC item or a raster file.

    Args:
        path: of the file.
        described: sensor, bands and date of a raster file; None where not given.

    Raises:
        ConfigError: something is described that a STAC item says itself, or cannot be used.
        SceneError: it cannot be read.
    """
    if path.suffix == ".json":
        _refuse_described(described)
    if not path.is_file():
        raise SceneError(f"{path} is no file; give a STAC item (.json) or a raster.")
    return describe_scene(_settings(path, _known(described)), Path())


def _known(described: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in described.items() if value is not None}


def _refuse_described(described: Mapping[str, Any]) -> None:
    if known := _known(described):
        raise ConfigError(
            f"--{' and --'.join(known)} cannot be given with STAC items, which say it themselves."
        )


def _settings(scene: Path, known: Mapping[str, Any]) -> SceneSettings:
    try:
        return SceneSettings(path=str(scene.absolute()), **known)
    except ValidationError as error:
        key = str(error.errors()[0]["loc"][0])
        hint = "write it as 2000-10-30" if key == "date" else error.errors()[0]["msg"]
        raise ConfigError(f"--{key} {known[key]!r} cannot be used: {hint}.") from error


class End(Protocol):
    """What became of a scene."""

    @property
    def number(self) -> int:
        """In the order of the archive."""

    @property
    def scene(self) -> str:
        """Its id."""

    @property
    def said(self) -> tuple[str, ...]:
        """What a person should know of it."""

    @property
    def error(self) -> str:
        """One sentence, where it failed."""


_E = TypeVar("_E", bound=End)


class Telling(Generic[_E]):
    """Tells a person of scenes as they end, and how far the work is.

    Args:
        total: how many scenes there are.
        on_end: is told of each.
        alone: there is one, and if it fails, all does.
    """

    def __init__(self, total: int, on_end: Callable[[_E], None], *, alone: bool) -> None:
        self.total = total
        self.alone = alone
        self.ended = 0
        self._on_end = on_end
        self._advance: Callable[[int, int, str], None] | None = None
        self._last_error = ""

    def __call__(self, end: _E) -> None:
        """Tell of a scene, and pass it on."""
        self.ended += 1
        self._last_error = end.error
        for sentence in end.said:
            note(f"{end.scene}: {sentence}")
        if end.error and not self.alone:
            note(f"{end.scene} failed and is passed over: {end.error}")
        self._on_end(end)
        if self._advance is not None:
            self._advance(self.ended, self.total, "scenes")

    @contextmanager
    def bar(self, title: str) -> Iterator[None]:
        """A bar of the scenes that have ended, in this block."""
        with progress(title) as self._advance:
            yield
        self._advance = None

    def refuse_alone(self) -> None:
        """Refuse a scene alone that failed: that is no failure of one among many.

        Raises:
            GeosegError: what is wrong with it.
        """
        if self.alone and self._last_error:
            raise GeosegError(self._last_error)


class Ends:
    """Figures of scenes that have ended, kept on disk and read back in the order of the archive.

    In memory are 16 bytes a scene. Used in `with`.
    """

    def __init__(self) -> None:
        self.failed = 0
        self._file = tempfile.TemporaryFile("w+b")  # noqa: SIM115  closed by __exit__
        self._numbers, self._offsets = array("q"), array("q")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def __len__(self) -> int:
        return len(self._numbers)

    def add(self, end: End, figures: Mapping[str, Any]) -> None:
        """Keep the figures of a scene."""
        self.failed += bool(end.error)
        self._numbers.append(end.number)
        self._offsets.append(self._file.tell())
        self._file.write(json.dumps(figures).encode() + b"\n")

    def __iter__(self) -> Iterator[dict[str, Any]]:
        """The figures; none is added meanwhile."""
        for index in sorted(range(len(self)), key=self._numbers.__getitem__):
            self._file.seek(self._offsets[index])
            yield json.loads(self._file.readline())

    def shown(self) -> Iterator[dict[str, Any]]:
        """The first figures, as many as a person reads."""
        return islice(self, _SHOWN)

    def titled(self, title: str) -> str:
        """The title of a table of those shown, which says so where there are more."""
        more = len(self) > _SHOWN
        return f"{title}: the first {_SHOWN} of {len(self):,}; --json has all" if more else title
