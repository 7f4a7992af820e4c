"""Folders of mixed products, scanned into entries of a catalogue as they are found."""

from __future__ import annotations

import os
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

from geoseg.errors import GeosegError
from geoseg.scenes.catalog import BrokenEntry, CatalogEntry, ProblemKind, is_item, scan_scene
from geoseg.scenes.checksums import with_checksums
from geoseg.scenes.products import (
    UnplacedError,
    belongs_to,
    group_bands,
    read_geotiff,
    read_product,
    recognise,
    versions,
)
from geoseg.scenes.stac import read_scene
from geoseg.sensors import find_sensor

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from datetime import datetime

    from geoseg.scenes.products import BandFiles, Product, Versions
    from geoseg.scenes.scene import Scene

__all__ = ["ScanStep", "scan_folders"]

_GEOTIFF = frozenset({".tif", ".tiff"})
# What is raised on metadata that no product has.
_BROKEN = (ValueError, KeyError, TypeError, AttributeError, OverflowError, OSError, RecursionError)


_Read: TypeAlias = tuple[tuple[CatalogEntry, ...], tuple[BrokenEntry, ...]]


class ScanStep(NamedTuple):
    """What one product gave."""

    done: int  # products looked at so far
    total: int
    entries: tuple[CatalogEntry, ...] = ()
    broken: tuple[BrokenEntry, ...] = ()


def scan_folders(
    folders: Sequence[Path], *, sensor: str | None = None, checksums: bool = False
) -> Iterator[ScanStep]:
    """The scenes of all products under folders, one product after the other.

    Landsat Collection 2, Sentinel-2 SAFE, DIMAP, scans of declassified film, GeoTIFFs with a day in
    their name, and STAC items, which go first: files that they name are looked at no further. Of
    versions of one product the newest that can be read is taken, of scenes with one id the first.

    Args:
        folders: searched to their depths; hidden ones are passed over.
        sensor: what took plain GeoTIFFs.
        checksums: read all files for their SHA-256, so that damage is noticed later.

    Raises:
        SensorError: no such sensor.
    """
    known = None if sensor is None else find_sensor(sensor)
    found = _find(folders)
    groups = versions(found.products)
    total = len(found.items) + len(groups) + len(found.geotiffs)
    top = folders[0] if len(folders) == 1 else None
    paths = [*(product.path for product in found.products), *found.geotiffs]
    reader = _Reader({_real(path) for path in paths}, top, checksums=checksums)
    yield ScanStep(0, total, broken=tuple(reader.broken(p, text) for p, text in found.broken))
    done = 0
    for path in found.items:
        done += 1
        yield ScanStep(done, total, *reader.item(path))
    for group in groups:
        done += 1
        yield ScanStep(done, total, *reader.newest(group))
    for files in group_bands([p for p in found.geotiffs if reader.is_unnamed(p)], known):
        done += len(files.files)
        yield ScanStep(done, total, *reader.geotiff(files, sensor))
    if done < total:
        yield ScanStep(total, total)


@dataclass(slots=True)
class _Found:
    """What lies in folders, by its names."""

    items: list[Path] = field(default_factory=list)
    products: list[Product] = field(default_factory=list)
    geotiffs: list[Path] = field(default_factory=list)
    broken: list[tuple[Path, str]] = field(default_factory=list)  # and why

    def refused(self, error: OSError) -> None:
        """Take note of a folder that cannot be read."""
        why = f"{error.filename} cannot be read ({error.strerror}); let it be read."
        self.broken.append((Path(error.filename), why))


def _find(folders: Sequence[Path]) -> _Found:
    found = _Found()
    seen: set[str] = set()
    for top in folders:
        for folder, inner, names in os.walk(top, onerror=found.refused, followlinks=True):
            real = _real(Path(folder))
            if real in seen:
                inner.clear()
                continue
            seen.add(real)
            inner[:] = sorted(name for name in inner if not name.startswith("."))
            _look_at(Path(folder), sorted(names), inner, found)
    return found


def _look_at(folder: Path, names: Sequence[str], inner: list[str], found: _Found) -> None:
    """Sort the files of one folder; empties `inner` where what lies below belongs to a product."""
    products = {name: recognise(folder / name) for name in names}
    here = [product for product in products.values() if product is not None]
    found.products += here
    families = {product.family for product in here}
    if "sentinel-2" in families or folder.name.endswith(".SAFE"):
        inner.clear()
        if "sentinel-2" not in families:
            found.broken.append(_no_description(folder, "MTD_MSIL1C.xml or MTD_MSIL2A.xml"))
        return
    described = {belongs_to(p.path.name) for p in here if p.family == "landsat"}
    missing: set[str] = set()
    for name in names:
        suffix = Path(name).suffix.lower()
        landsat = belongs_to(name)
        if products[name] is not None or (landsat is not None and landsat in described):
            continue
        if landsat is not None and suffix in _GEOTIFF:
            missing.add(landsat)
        elif suffix == ".json" and landsat is None:
            found.items.append(folder / name)
        elif suffix in _GEOTIFF and not ("dimap" in families and _is_of_dimap(name)):
            found.geotiffs.append(folder / name)
    found.broken += [_no_description(folder / name, "MTL") for name in sorted(missing)]


def _is_of_dimap(name: str) -> bool:
    return name.upper().startswith(("IMG_", "IMAGERY"))


def _no_description(path: Path, name: str) -> tuple[Path, str]:
    return path, f"{path} has no {name}, which says what it is; fetch the product again."


class _Reader:
    """What is read of products, and what has been taken before."""

    def __init__(self, unnamed: set[str], top: Path | None, *, checksums: bool) -> None:
        self._unnamed = unnamed  # files that no STAC item has named so far
        self._top = top  # that paths are told from
        self._checksums = checksums
        self._taken: dict[str, tuple[Path, str, datetime]] = {}
        self._with_items: set[Path] = set()

    def item(self, path: Path) -> _Read:
        """The scene of a STAC item; JSON of other kinds is passed over."""
        return self._try(path, partial(self._read_item, path))

    def _read_item(self, path: Path) -> tuple[Scene, ...]:
        if not is_item(path):
            return ()
        self._with_items.add(path.parent)
        scene = read_scene(path)
        self._unnamed.difference_update(map(_real, _files(scene)))
        return (scene,)

    def newest(self, group: Versions) -> _Read:
        """The scenes of the newest version of a product that can be read."""
        broken: list[BrokenEntry] = []
        for number, product in enumerate(group.products, start=1):
            if not self.is_unnamed(product.path):
                continue
            entries, some = self._try(product.path, partial(read_product, product))
            broken += some
            if entries:
                older = group.products[number:]
                return entries, (*broken, *(self._older(one, product) for one in older))
        return (), tuple(broken)

    def geotiff(self, group: BandFiles, sensor: str | None) -> _Read:
        """The scene of plain GeoTIFFs."""
        path = next(iter(group.files.values()))
        entries, broken = self._try(path, partial(read_geotiff, group, sensor))
        # Beside scenes that are described lie masks, terrain and maps that are none.
        if path.parent in self._with_items and sensor is None:
            broken = tuple(replace(one, kind=ProblemKind.PASSED_OVER) for one in broken)
        return entries, broken

    def is_unnamed(self, path: Path) -> bool:
        """Whether no STAC item that was read names a file."""
        return _real(path) in self._unnamed

    def broken(
        self, path: Path, reason: str, kind: ProblemKind = ProblemKind.UNREADABLE
    ) -> BrokenEntry:
        """What is told of a file."""
        return BrokenEntry(id=self._name(path), reason=reason, kind=kind)

    def _name(self, path: Path) -> str:
        return str(path if self._top is None else path.relative_to(self._top))

    def _try(self, path: Path, read: Callable[[], tuple[Scene, ...]]) -> _Read:
        """The entries of the scenes that are read, and what came in between."""
        entries: list[CatalogEntry] = []
        broken: list[BrokenEntry] = []
        try:
            scenes = read()
            for scene in scenes:
                clash = self._clash(scene, path)
                if clash is not None:
                    broken.append(clash)
                    continue
                whole = with_checksums(scene) if self._checksums else scene
                entries.append(scan_scene(whole))
                self._taken[scene.id] = (path, scene.sensor_id, scene.start)
        except UnplacedError as error:
            broken.append(self.broken(path, str(error), ProblemKind.UNPLACED))
        except GeosegError as error:
            broken.append(self.broken(path, str(error)))
        except _BROKEN as error:
            reason = f"{path} cannot be read ({type(error).__name__}: {error}); fetch it again."
            broken.append(self.broken(path, reason))
        return tuple(entries), tuple(broken)

    def _older(self, product: Product, taken: Product) -> BrokenEntry:
        reason = (
            f"{self._name(product.path)} is another version of {self._name(taken.path)}, which is "
            "taken in its place."
        )
        return self.broken(product.path, reason, ProblemKind.DUPLICATE)

    def _clash(self, scene: Scene, path: Path) -> BrokenEntry | None:
        """What is wrong with a scene whose id another one has."""
        if scene.id not in self._taken:
            return None
        other, sensor, start = self._taken[scene.id]
        same = (scene.sensor_id, scene.start) == (sensor, start)
        where, there = self._name(path), self._name(other)
        remedy = "the first is taken" if same else "give each an id of its own"
        reason = f"{where} holds a scene named {scene.id!r}, and so does {there}; {remedy}."
        kind = ProblemKind.DUPLICATE if same else ProblemKind.UNREADABLE
        return self.broken(path, reason, kind)


def _real(path: Path) -> str:
    """One name for a file, whatever links lead to it."""
    return os.path.realpath(path)


def _files(scene: Scene) -> set[Path]:
    """All files that a scene names."""
    assets = [*scene.bands.values(), scene.mask, scene.quality]
    paths = [asset.path for asset in assets if asset is not None]
    return {path for path in (*paths, scene.dem, scene.metadata) if path is not None}
