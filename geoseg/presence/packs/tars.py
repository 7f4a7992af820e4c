"""Shards as tar files in the layout of WebDataset: members that share a key are a place."""

from __future__ import annotations

import io
import json
import math
import re
import tarfile
from datetime import UTC, datetime
from itertools import groupby
from typing import TYPE_CHECKING, Any

from geoseg.dates import as_utc
from geoseg.errors import LabelError, SceneError
from geoseg.presence.packs.kind import ImageKind
from geoseg.presence.packs.labels import as_present, position
from geoseg.presence.packs.members import read_members
from geoseg.presence.packs.pack import Problem
from geoseg.presence.packs.pixels import MOST_BYTES, npy_bytes
from geoseg.presence.packs.stored import StoredImage, StoredPlace

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from geoseg.presence.packs.members import Member
    from geoseg.presence.packs.pack import Foreign

__all__ = ["TarWriter", "places_of_tar", "read_tar"]

_PLAIN = re.compile(r"[A-Za-z0-9_-]{1,80}")  # a key that is the same in every tool
_IMAGES = ("png", "npy")
_MASK = "mask.png"
_BROKEN = (ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError)


class TarWriter:
    """Writes places one after the other.

    Bytes depend on the places alone: no time, no user.
    """

    def __init__(self, path: Path) -> None:
        self._count = 0
        self._tar = tarfile.open(path, "w", format=tarfile.USTAR_FORMAT)  # noqa: SIM115  closed by close

    def add(self, place: StoredPlace) -> None:
        """Add a place after those before."""
        key = place.id if _PLAIN.fullmatch(place.id) else f"~{self._count:06d}"
        self._count += 1
        entries = [_entry(number, image) for number, image in enumerate(place.images)]
        about = {
            "id": place.id,
            "lon": None if math.isnan(place.lon) else place.lon,
            "lat": None if math.isnan(place.lat) else place.lat,
            "present": place.present,
            "images": entries,
        }
        self._add(f"{key}.json", json.dumps(about, separators=(",", ":")).encode())
        for number, image in enumerate(place.images):
            pixels = image.pixels
            stored = pixels if isinstance(pixels, bytes) else npy_bytes(pixels)
            self._add(f"{key}.{number}.{image.suffix}", stored)
            if image.mask is not None:
                self._add(f"{key}.{number}.{_MASK}", image.mask)

    def close(self) -> None:
        """Finish the file."""
        self._tar.close()

    def _add(self, name: str, content: bytes) -> None:
        member = tarfile.TarInfo(name)
        member.size = len(content)
        self._tar.addfile(member, io.BytesIO(content))


def read_tar(
    path: Path, foreign: Foreign | None, start: int = 0
) -> Iterator[StoredPlace | Problem]:
    """Places of a tar file in its order, one in memory at a time.

    A sample of somebody else is an image KEY.png or KEY.npy, or several, KEY.NAME.png; a KEY.json
    that says what it can (id, lon, lat, time, present), a KEY.cls of 0 or 1 and masks, KEY.mask.png
    of one image or KEY.NAME.mask.png of one of several, are read when they are there. A
    sample with a member that is too large or no file is left out whole.

    Args:
        path: the tar file.
        foreign: for what is not said of an image; None where all is said.
        start: byte where a place begins (`places_of_tar`), to go on from.

    Raises:
        tarfile.TarError: it is cut short or damaged.
        OSError: it cannot be read.
    """
    for key, members in _samples(path, start):
        if isinstance(members, Problem):
            yield members
            continue
        try:
            yield _place(key, members, foreign)
        except (SceneError, LabelError) as error:
            yield Problem(key, str(error))
        except _BROKEN as error:
            reason = f"its .json says what is no place ({type(error).__name__}: {error})."
            yield Problem(key, reason)


def places_of_tar(path: Path) -> Iterator[tuple[str, int]]:
    """Ids of the places of a tar file in its order, each with the byte where it begins.

    Raises:
        tarfile.TarError: it is cut short or damaged.
        OSError: it cannot be read.
    """
    for key, group in groupby(read_members(path, MOST_BYTES), key=lambda member: _split(member)[0]):
        first = next(group)
        said = {_split(member)[1]: member.content for member in (first, *group)}.get("json")
        try:
            about = json.loads(said or b"{}")
            yield str(about.get("id") or key), first.at
        except _BROKEN:
            yield key, first.at


def _entry(number: int, image: StoredImage) -> dict[str, Any]:
    """What is said of an image; of nodata and scale where they matter."""
    said = image.kind.as_dict()
    if image.kind.nodata is None:
        del said["nodata"]
    if image.kind.scale == 1:
        del said["scale"]
    time = image.time.astimezone(UTC).isoformat()
    return {"member": f"{number}.{image.suffix}", **said, "time": time}


def _samples(path: Path, start: int) -> Iterator[tuple[str, dict[str, bytes] | Problem]]:
    """Keys and their members by suffix; a problem where one is too large or no file."""
    found = read_members(path, MOST_BYTES, start)
    for key, group in groupby(found, key=lambda member: _split(member)[0]):
        members: dict[str, bytes] = {}
        spoilt = None
        for member in group:
            if member.content is None:
                reason = f"{member.name} ({member.size} bytes) is no file of up to 64 MiB."
                spoilt = Problem(key, reason)
            else:
                members[_split(member)[1]] = member.content
        yield key, spoilt or members


def _split(member: Member) -> tuple[str, str]:
    """Key of a member, and what it is of that."""
    folder, slash, last = member.name.rpartition("/")
    stem, _, suffix = last.partition(".")
    return folder + slash + stem, suffix.lower()


def _place(key: str, members: Mapping[str, bytes], foreign: Foreign | None) -> StoredPlace:
    about = json.loads(members["json"]) if "json" in members else {}
    if isinstance(about.get("images"), list):
        images = [_own_image(entry, members) for entry in about["images"]]
    elif foreign is not None and foreign.kind is not None:
        images = _foreign_images(about, members, foreign.kind, foreign.time)
    else:
        raise SceneError("it says nothing of its images; pack it with --sensor and --bands.")
    if not images:
        raise SceneError("it has no image; give it a .png or .npy.")
    images.sort(key=lambda image: image.time)
    used = {id(image.mask) for image in images}
    lon, lat = position(about.get("lon"), about.get("lat"))
    return StoredPlace(
        id=str(about.get("id") or key),
        lon=lon,
        lat=lat,
        present=_present(about, members),
        images=tuple(images),
        stray=tuple(n for n, m in members.items() if n.endswith(_MASK) and id(m) not in used),
    )


def _own_image(entry: Mapping[str, Any], members: Mapping[str, bytes]) -> StoredImage:
    name = entry["member"]
    number, _, suffix = name.partition(".")
    if name not in members or suffix not in _IMAGES:
        raise SceneError(f"its image {name} is missing.")
    return StoredImage(
        pixels=members[name],
        suffix=suffix,
        kind=ImageKind.of(entry),
        time=as_utc(datetime.fromisoformat(entry["time"])),
        mask=members.get(f"{number}.{_MASK}"),
    )


def _foreign_images(
    about: Mapping[str, Any], members: Mapping[str, bytes], kind: ImageKind, day: datetime | None
) -> list[StoredImage]:
    said = about.get("time")
    time = day if said is None else as_utc(datetime.fromisoformat(str(said)))
    if time is None:
        raise SceneError("nothing says when it was taken; give --date.")
    names = [n for n in members if n.rpartition(".")[2] in _IMAGES and not n.endswith(_MASK)]
    return [
        StoredImage(
            pixels=members[name],
            suffix=name.rpartition(".")[2],
            kind=kind,
            time=time,
            mask=_mask_of(name, members, alone=len(names) == 1),
        )
        for name in names
    ]


def _mask_of(name: str, members: Mapping[str, bytes], *, alone: bool) -> bytes | None:
    """The mask NAME.mask.png of NAME.png; mask.png where no other image may be meant."""
    stem = name.rpartition(".")[0]
    mask = members.get(f"{stem}.{_MASK}" if stem else _MASK)
    return members.get(_MASK) if mask is None and alone else mask


def _present(about: Mapping[str, Any], members: Mapping[str, bytes]) -> bool | None:
    said = about.get("present")
    if said is None and "cls" in members:
        said = {"0": False, "1": True}.get(members["cls"].decode("ascii", "replace").strip())
        if said is None:
            raise SceneError("its .cls is neither 0 nor 1.")
    return as_present(said)
