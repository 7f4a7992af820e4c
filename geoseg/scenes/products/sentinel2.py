"""Sentinel-2 SAFE, Level 1C and 2A: a tree of JPEG 2000 below its MTD.

Names and elements after ESA, Sentinel-2 Products Specification Document (S2-PDGS-TAS-DI-PSD):
values of 0 are fill. Since baseline 04.00 values carry an offset, which the MTD gives.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from geoseg.errors import SceneError
from geoseg.scenes.products.product import (
    INSTANT,
    Product,
    inside,
    moment,
    number,
    read_xml,
    sun_position,
    text_of,
)
from geoseg.scenes.scene import Asset, Scene
from geoseg.sensors import find_sensor

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path
    from xml.etree.ElementTree import Element

    from geoseg.scenes.scene import SunPosition

__all__ = ["choose_bands", "read", "recognise"]

_SENSOR = "sentinel-2"
_MTD = re.compile(r"MTD_MSI(L1C|L2A)\.xml", re.ASCII)
_SAFE = re.compile(
    r"(?P<take>S2[A-D]_MSIL(?:1C|2A)_\d{8}T\d{6})_N(?P<baseline>\d{4})"
    r"(?P<place>_R\d{3}_T\w{5})_(?P<made>\d{8}T\d{6})",
    re.ASCII,
)
_IMAGE = re.compile(r"_(B\d\d|B8A|SCL)(?:_(\d\d)m)?$", re.ASCII)
_SUFFIXES = (".jp2", ".tif", ".TIF")
_FILL = 0.0


def recognise(path: Path) -> Product | None:
    """The product that an MTD describes."""
    if _MTD.fullmatch(path.name) is None:
        return None
    found = _SAFE.match(path.parent.name)
    if found is None:
        return Product(path, "sentinel-2", str(path), "")
    # Two granules of one take lie where a data strip ends; their names tell them apart.
    granules = sorted(granule.name for granule in path.parent.glob("GRANULE/*"))
    key = " ".join([found["take"] + found["place"], *granules])
    return Product(path, "sentinel-2", key, f"{found['baseline']} {found['made']}")


def read(path: Path) -> tuple[Scene, ...]:
    """A scene for each granule of the MTD, with each band at the pixel that it is measured at.

    Raises:
        SceneError: the MTD cannot be read, or no band that it names is there.
    """
    root = read_xml(path)
    found: dict[str, dict[str, Path]] = {}
    for name in _images(root):
        file = _on_disk(path, name)
        if file is not None:
            found.setdefault(name.split("/")[1] if "/" in name else "", {})[name] = file
    scenes = [_scene(root, path, granule, files) for granule, files in found.items()]
    if not scenes:
        raise SceneError(f"{path} names no band that lies below it; fetch the product again.")
    return tuple(scenes)


def choose_bands(names: Iterable[str]) -> dict[str, str]:
    """The image of each band, by its common name, in the order of the sensor.

    Level 2A has bands at several pixels; the one that the instrument measures at is taken, and the
    nearest coarser one where it is missing.

    Args:
        names: of images, without their suffix: ..._B04 or ..._B04_10m.
    """
    images: dict[str, dict[int, str]] = {}
    for name in names:
        found = _IMAGE.search(name)
        if found is not None:
            own = found[1].replace("B0", "B")
            images.setdefault(own, {})[int(found[2] or 0)] = name
    chosen = {}
    for band in find_sensor(_SENSOR).bands:
        known = images.get(band.name)
        if known:
            chosen[band.common_name] = known[
                min(known, key=lambda gsd: (0 < gsd < band.gsd_m, abs(gsd - band.gsd_m)))
            ]
    return chosen


def _images(root: Element) -> list[str]:
    tags = ("IMAGE_FILE", "IMAGE_FILE_2A", "IMAGE_ID")
    return [
        (e.text or "").strip() for tag in tags for e in root.iter(tag) if (e.text or "").strip()
    ]


def _on_disk(path: Path, name: str) -> Path | None:
    stem = inside(path.parent, name, path)
    files = (stem.with_name(stem.name + suffix) for suffix in _SUFFIXES)
    return next((file for file in files if file.is_file()), None)


def _scene(root: Element, path: Path, granule: str, files: Mapping[str, Path]) -> Scene:
    chosen = choose_bands(files)
    if not chosen:
        raise SceneError(f"{path} has no band of Sentinel-2 in {granule}; fetch the product again.")
    start = moment(text_of(root, "PRODUCT_START_TIME", path), path)
    stop = moment(text_of(root, "PRODUCT_STOP_TIME", path), path)
    cover = root.findtext(".//{*}Cloud_Coverage_Assessment")
    quality = [name for name in files if name.endswith("_SCL_20m")]
    return Scene(
        id=_name(root, path, granule),
        sensor_id=_SENSOR,
        start=start,
        end=max(stop, start + INSTANT),
        bands={band: Asset(path=files[name], nodata=_FILL) for band, name in chosen.items()},
        sun=_sun(path.parent / "GRANULE" / granule / "MTD_TL.xml"),
        cloud_percent=number(cover),
        metadata=path,
        quality=Asset(path=files[quality[0]]) if quality else None,
    )


def _name(root: Element, path: Path, granule: str) -> str:
    uri = root.findtext(".//{*}PRODUCT_URI") or path.parent.name
    name = uri.strip().removesuffix(".SAFE")
    # Until 2016 a product held many granules.
    tiles = {(e.text or "").split("/")[1] for e in root.iter("IMAGE_FILE") if "/" in (e.text or "")}
    return name if len(tiles) < 2 else f"{name}_{granule}"


def _sun(path: Path) -> SunPosition | None:
    """Of the middle of a tile; it is told of where its own metadata were fetched too."""
    if not path.is_file():
        return None
    mean = read_xml(path).find(".//{*}Mean_Sun_Angle")
    if mean is None:
        return None
    zenith = number(mean.findtext("{*}ZENITH_ANGLE"))
    azimuth = number(mean.findtext("{*}AZIMUTH_ANGLE"))
    return sun_position(azimuth, None if zenith is None else 90 - zenith)
