"""A pack: images of very many places in a few large files, and what is said of them once."""

from __future__ import annotations

import hashlib
import json
import math
import os
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from geoseg import __version__
from geoseg.errors import DataError
from geoseg.files import sha256_of, write_text
from geoseg.presence.packs.kind import ImageKind

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

__all__ = [
    "PACK",
    "Foreign",
    "Known",
    "Pack",
    "Problem",
    "Shard",
    "is_utf8",
    "read_pack",
    "require_whole",
    "write_pack",
]

PACK = "pack.json"
EDITION = 1


class Problem(NamedTuple):
    """What was left out, and why."""

    key: str  # of a place or a shard
    reason: str


class Known(NamedTuple):
    """What is known of one place beside its shard; None and NaN where nothing is."""

    present: bool | None
    lon: float
    lat: float


class Foreign(NamedTuple):
    """What shards of somebody else do not say of their images and places."""

    kind: ImageKind | None  # None where all images say it themselves
    time: datetime | None
    labels: Mapping[str, Known] | None = None  # by id of the place


@dataclass(frozen=True, slots=True, kw_only=True)
class Shard:
    """One file of a pack."""

    path: Path
    places: int
    images: int
    bytes: int
    sha256: str

    @property
    def name(self) -> str:
        """As it is told of."""
        return self.path.name


@dataclass(frozen=True, slots=True, kw_only=True)
class Pack:
    """What a pack holds; its images are read shard by shard."""

    folder: Path
    kinds: Mapping[ImageKind, NDArray[np.float32]]  # with the palette (C, P) of each
    foreign: Foreign | None  # None where all is said
    shards: tuple[Shard, ...]
    digest: str  # SHA-256 of its pixels and labels, and of what is said of either

    @property
    def places(self) -> int:
        """How many there are."""
        return sum(shard.places for shard in self.shards)


def write_pack(
    folder: Path,
    kinds: Mapping[ImageKind, NDArray[np.float32]],
    shards: Sequence[Shard],
    *,
    source: str,
    origin: str | None = None,
    foreign: Foreign | None = None,
) -> Pack:
    """Write what a pack holds, when its shards are there.

    Args:
        folder: of the pack; shards are named relative to it.
        kinds: of all its images, each with a palette (C, P).
        shards: complete.
        source: what kind of thing it was made from.
        origin: the folder or file that this is; None where a pack follows what it is made from.
        foreign: for shards of somebody else.
    """
    content = {
        "format": "geoseg pack",
        "edition": EDITION,
        "geoseg": __version__,
        "source": source,
        "origin": origin,
        "places": sum(shard.places for shard in shards),
        "images": sum(shard.images for shard in shards),
        "kinds": [
            {**kind.as_dict(), "palette": _as_lists(palette)} for kind, palette in kinds.items()
        ],
        "foreign": None if foreign is None else _as_dict(foreign),
        "shards": [
            {
                "name": _named(shard.path, folder),
                "places": shard.places,
                "images": shard.images,
                "bytes": shard.bytes,
                "sha256": shard.sha256,
            }
            for shard in shards
        ],
    }
    write_text(folder / PACK, json.dumps(content, allow_nan=False) + "\n")
    return read_pack(folder)


def read_pack(folder: Path) -> Pack:
    """What a pack holds; no shard is opened.

    Raises:
        DataError: no pack, an unfinished one, a damaged one, or one of a later edition.
    """
    path = folder / PACK
    try:
        content = json.loads(path.read_bytes())
        edition = content["edition"]
        if edition != EDITION:
            raise DataError(
                f"{path} is of edition {edition} and this geoseg reads {EDITION}; update geoseg."
            )
        return Pack(
            folder=folder,
            kinds={ImageKind.of(e): _as_array(e["palette"]) for e in content["kinds"]},
            foreign=_foreign(content["foreign"]),
            shards=tuple(_shard(entry, folder) for entry in content["shards"]),
            digest=_digest(content),
        )
    except (FileNotFoundError, NotADirectoryError):
        raise DataError(
            f"{folder} is no finished pack: it has no {PACK}; make one with `geoseg presence pack`."
        ) from None
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise DataError(
            f"{path} is no pack that can be read ({type(error).__name__}: {error}); pack it again."
        ) from error


def is_utf8(name: str) -> bool:
    """Whether a name that came as bytes can be written as text."""
    try:
        name.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def require_whole(shard: Shard) -> None:
    """Refuse a shard that is not what it was when it was packed.

    Raises:
        DataError: gone, cut short or changed.
    """
    try:
        size = shard.path.stat().st_size
        if size == shard.bytes and sha256_of(shard.path) == shard.sha256:
            return
    except OSError as error:
        raise DataError(
            f"{shard.path} cannot be read ({error.strerror}); bring it back, or pack it again."
        ) from error
    what = f"has {size} bytes and had {shard.bytes}" if size != shard.bytes else "has changed"
    raise DataError(f"{shard.path} {what} since it was packed; bring it back, or pack it again.")


def _named(path: Path, folder: Path) -> str:
    """As it is found from the folder: `..` leads out of what a link leads to."""
    shard = path.parent.resolve() / path.name
    return Path(os.path.relpath(shard, folder.resolve())).as_posix()


def _as_dict(foreign: Foreign) -> dict[str, Any]:
    """For JSON, which has no NaN."""
    return {
        "kind": None if foreign.kind is None else foreign.kind.as_dict(),
        "time": None if foreign.time is None else foreign.time.isoformat(),
        "labels": {
            name: [known.present, *(None if math.isnan(v) else v for v in known[1:])]
            for name, known in (foreign.labels or {}).items()
        },
    }


def _foreign(entry: Mapping[str, Any] | None) -> Foreign | None:
    if entry is None:
        return None
    kind, time = entry["kind"], entry["time"]
    labels = entry.get("labels", {})  # older packs have none
    return Foreign(
        kind=None if kind is None else ImageKind.of(kind),
        time=None if time is None else datetime.fromisoformat(time),
        labels={
            name: Known(present, *(math.nan if v is None else float(v) for v in where))
            for name, (present, *where) in labels.items()
        },
    )


def _shard(entry: Mapping[str, Any], folder: Path) -> Shard:
    return Shard(
        path=folder / entry["name"],
        places=int(entry["places"]),
        images=int(entry["images"]),
        bytes=int(entry["bytes"]),
        sha256=str(entry["sha256"]),
    )


def _digest(content: Mapping[str, Any]) -> str:
    """Of shards, kinds and what is said beside shards, labels with it.

    Not of where shards lie, so that a pack may be moved.
    """
    shards = [shard["sha256"] for shard in content["shards"]]
    text = json.dumps([shards, content["kinds"], content["foreign"]], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def _as_lists(palette: NDArray[np.float32]) -> list[list[float | None]]:
    """With null for NaN; seven digits are all that a float32 has."""
    return [[None if np.isnan(v) else float(f"{v:.9g}") for v in band] for band in palette.tolist()]


def _as_array(palette: Sequence[Sequence[float | None]]) -> NDArray[np.float32]:
    return np.array(palette, dtype=np.float32).reshape(len(palette), -1)
