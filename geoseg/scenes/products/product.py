"""What a name says of a product before it is opened."""

from __future__ import annotations

import json
from datetime import MAXYEAR, UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from geoseg.errors import SceneError
from geoseg.scenes.raster import is_placed
from geoseg.scenes.scene import SunPosition
from geoseg.scenes.xml_text import parse_xml

if TYPE_CHECKING:
    from collections.abc import Iterable
    from xml.etree.ElementTree import Element

    from rasterio.io import DatasetReader

__all__ = [
    "INSTANT",
    "Product",
    "UnplacedError",
    "Versions",
    "inside",
    "moment",
    "number",
    "read_bounded",
    "read_json",
    "read_xml",
    "require_placed",
    "sun_position",
    "text_of",
    "versions",
]

INSTANT = timedelta(microseconds=1)  # the shortest interval that holds an instant
_LONGEST_NAME = 255  # bytes
_LARGEST_BYTES = 32 * 2**20  # metadata of a tile of Sentinel-2, with all its angles, takes 1 MB


class UnplacedError(SceneError):
    """An image that was found and cannot be mapped before it is placed on the ground."""


class Product(NamedTuple):
    """One delivery of one product."""

    path: Path  # the file that describes it
    family: str
    key: str  # the same for all versions of a product
    version: str  # of a later version it sorts behind that of an earlier one


class Versions(NamedTuple):
    """All deliveries of one product, the newest first."""

    products: tuple[Product, ...]


def versions(products: Iterable[Product]) -> list[Versions]:
    """Products with those of one key together, in the order of their first paths."""
    by_key: dict[tuple[str, str], list[Product]] = {}
    for product in products:
        by_key.setdefault((product.family, product.key), []).append(product)
    return [
        Versions(tuple(sorted(group, key=lambda p: p.version, reverse=True)))
        for group in by_key.values()
    ]


def read_bounded(path: Path) -> bytes:
    """A file of metadata.

    Raises:
        SceneError: it cannot be read, or is larger than metadata are.
    """
    try:
        with path.open("rb") as file:
            content = file.read(_LARGEST_BYTES + 1)
    except OSError as error:
        raise SceneError(f"{path} cannot be read ({error.strerror}); fetch it again.") from error
    if len(content) > _LARGEST_BYTES:
        raise SceneError(f"{path} is larger than metadata are (32 MiB); move it away.")
    return content


def read_xml(path: Path) -> Element:
    """The root of an XML file.

    Raises:
        SceneError: no XML, too large, or with entities, which the metadata of no product need.
    """
    return parse_xml(read_bounded(path), str(path))


def read_json(path: Path) -> dict[str, Any]:
    """An object in a JSON file.

    Raises:
        SceneError: no JSON that can be read, or no object.
    """
    try:
        content = json.loads(read_bounded(path))
    except (ValueError, RecursionError) as error:
        raise SceneError(
            f"{path} is no JSON that can be read ({type(error).__name__}: {error}); write it again "
            "if it was cut short, or move it away."
        ) from error
    if not isinstance(content, dict):
        raise SceneError(f"{path} holds no JSON object; fetch it again.")
    return content


def text_of(root: Element, tag: str, path: Path) -> str:
    """What the first element of this name says, whatever its namespace.

    Raises:
        SceneError: there is none.
    """
    found = root.findtext(f".//{{*}}{tag}")
    if found is None or not found.strip():
        raise SceneError(f"{path} has no {tag}; fetch it again.")
    return found.strip()


def number(text: str | float | None) -> float | None:
    """A number as it is written; None where it is none."""
    try:
        return None if text is None else float(text)
    except (TypeError, ValueError):
        return None


def moment(text: str, path: Path) -> datetime:
    """A time as providers write it, UTC.

    Raises:
        SceneError: it is none.
    """
    # Landsat gives 100 nanoseconds, datetime takes microseconds.
    head, dot, fraction = text.strip().strip('"').rstrip("Z").partition(".")
    try:
        time = datetime.fromisoformat(head + dot + fraction[:6].ljust(6, "0") if dot else head)
        time = time.replace(tzinfo=UTC) if time.tzinfo is None else time.astimezone(UTC)
        if time.year == MAXYEAR:
            raise ValueError("no year comes after it")
    except (ValueError, OverflowError) as error:
        raise SceneError(
            f"{path} gives the time {text!r}, which is none; fetch it again."
        ) from error
    return time


def sun_position(azimuth: float | None, elevation: float | None) -> SunPosition | None:
    """Where the sun stood, if both angles are known; azimuths west of north may be negative."""
    if azimuth is None or elevation is None:
        return None
    return SunPosition(azimuth=azimuth % 360, elevation=elevation)


def require_placed(raster: DatasetReader, remedy: str) -> None:
    """Refuse an open raster that lies nowhere on the ground.

    Args:
        raster: open.
        remedy: what to do, to end the sentence with.

    Raises:
        UnplacedError: it has no coordinate reference system or no georeference.
    """
    if not is_placed(raster):
        raise UnplacedError(f"{raster.name} has no georeference; {remedy}.")


def inside(folder: Path, name: str, path: Path) -> Path:
    """A file that metadata name, within the folder of its product.

    Raises:
        SceneError: the name leads out of it.
    """
    parts = Path(name).parts
    leads_out = Path(name).is_absolute() or ".." in parts or "\0" in name
    # Longer than any file system takes, which would end in another error.
    long = any(len(part.encode(errors="replace")) > _LONGEST_NAME for part in parts)
    if not parts or leads_out or long or ":" in parts[0]:
        raise SceneError(f"{path} names {name!r}, which is not in its folder; fetch it again.")
    return folder / name
