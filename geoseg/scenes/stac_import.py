"""Catalogues of others, static or behind an API, as a catalogue of geoseg."""

from __future__ import annotations

import json
from datetime import datetime
from typing import TYPE_CHECKING, Any, NamedTuple

import pystac
import shapely
from odc.geo.geom import Geometry
from shapely.geometry import shape

from geoseg.errors import ConfigError, DataError, GeosegError, SceneError, SensorError
from geoseg.scenes.catalog import BrokenEntry, CatalogEntry, ProblemKind
from geoseg.scenes.catalog_rows import NUMBERS, TIMES, writing_rows
from geoseg.scenes.products.product import number, read_json
from geoseg.scenes.stac import BAND_INDEX, METADATA, SENSOR, item_of, scene_of
from geoseg.sensors import find_sensor, load_sensors

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from geoseg.dates import Interval
    from geoseg.sensors import Sensor

__all__ = ["ApiSearch", "ImportStep", "import_items", "items_of_api", "items_of_file"]

_BROKEN = (ValueError, KeyError, TypeError, AttributeError, RecursionError)
_NO_STAC = (pystac.STACError, pystac.STACTypeError)
_KEPT_ROLES = frozenset({"data", "reflectance"})
_PICTURES = frozenset({"visual", "overview", "thumbnail"})  # keys and roles of what is looked at


class ApiSearch(NamedTuple):
    """What is asked of a STAC API."""

    collections: tuple[str, ...] = ()
    bbox: tuple[float, float, float, float] | None = None  # west, south, east, north, degrees
    interval: Interval | None = None
    limit: int | None = None  # items in all


class ImportStep(NamedTuple):
    """What one item gave."""

    done: int
    taken: int  # scenes so far
    broken: BrokenEntry | None


class SourceItem(NamedTuple):
    """A STAC item, in JSON."""

    content: dict[str, Any]
    place: Path  # of the file that it was in; relative paths start from its folder


def items_of_file(path: Path) -> Iterator[SourceItem]:
    """The items of an ItemCollection, of one item, or of a static catalogue and all below it.

    Links are followed to files within the folder of the catalogue; others are an error.

    Raises:
        SceneError: no STAC, a file that is missing or damaged, or a link that leads elsewhere.
    """
    root = path.parent.resolve()
    waiting, seen = [path], {path.resolve()}
    while waiting:
        place = waiting.pop(0)
        content = read_json(place)
        kind = content.get("type")
        if kind == "FeatureCollection":
            yield from (SourceItem(item, place) for item in content.get("features") or [])
        elif kind == "Feature":
            yield SourceItem(content, place)
        elif kind in ("Catalog", "Collection"):
            for linked in _links(content, place, root):
                if linked.resolve() not in seen:
                    seen.add(linked.resolve())
                    waiting.append(linked)
        else:
            raise SceneError(
                f"{place} is no STAC catalogue, collection or item; give one, an ItemCollection or "
                "the address of a STAC API."
            )


def items_of_api(address: str, search: ApiSearch, place: Path) -> Iterator[SourceItem]:
    """The items that a STAC API finds, as they come.

    Args:
        address: http or https.
        search: what is asked.
        place: the file that paths would start from.

    Raises:
        ConfigError: pystac-client is not installed.
        DataError: the API cannot be reached, or answers with an error.
    """
    try:
        from pystac_client import Client
        from pystac_client.exceptions import APIError
    except ImportError:
        raise ConfigError(
            "A STAC API is read by pystac-client, which is not here; install it with "
            "`pip install 'pystac-client>=0.8'`."
        ) from None
    try:
        found = Client.open(address).search(
            collections=list(search.collections) or None,
            bbox=search.bbox,
            datetime=None if search.interval is None else _range(search.interval),
            max_items=search.limit,
        )
        for content in found.items_as_dicts():
            yield SourceItem(content, place)
    except (APIError, *_NO_STAC, OSError, *_BROKEN) as error:
        if isinstance(error, GeosegError):
            raise
        words = " ".join(str(error).split())[:300]
        raise DataError(
            f"{address} does not answer as a STAC API ({type(error).__name__}: {words}); check the "
            "address and the connection, and run again."
        ) from error


def import_items(items: Iterator[SourceItem], out: Path) -> Iterator[ImportStep]:
    """Write items to a catalogue, one by one; nothing is downloaded, no raster is opened.

    Items whose files are not local are written as they are, so that they can be searched: they
    become scenes once their files have been downloaded.

    Raises:
        SceneError: the source is no STAC.
        DataError: an API does not answer.
        OutputError: the catalogue cannot be written.
    """
    ids: set[str] = set()
    with writing_rows(out) as rows:
        for done, item in enumerate(items, start=1):
            broken = None
            try:
                content, outline = _prepared(item)
                _require_new(content["id"], ids, item)
                local = not _is_remote(content)
                if local:
                    scene = scene_of(json.loads(json.dumps(content)), item.place)
                    entry = CatalogEntry(scene=scene, footprint=outline)
                    content = item_of(entry.scene, out.parent, outline)
                else:
                    broken = _remote(content)
                rows.add(content, outline)
                ids.add(content["id"])
            except GeosegError as error:
                broken = BrokenEntry(id=_id_of(item), reason=str(error))
            except (*_BROKEN, *_NO_STAC, shapely.errors.ShapelyError) as error:
                reason = (
                    f"{_id_of(item)} of {item.place} is not a STAC item that can be read "
                    f"({type(error).__name__}: {error}); write it again."
                )
                broken = BrokenEntry(id=_id_of(item), reason=reason)
            yield ImportStep(done, len(ids), broken)


def _links(content: dict[str, Any], place: Path, root: Path) -> Iterator[Path]:
    links = content.get("links") or []
    if not isinstance(links, list) or not all(isinstance(link, dict) for link in links):
        raise SceneError(f"{place} has links that are none of STAC; compare it with the standard.")
    for link in links:
        if link.get("rel") not in ("item", "items", "child"):
            continue
        linked = place.parent / str(link.get("href", ""))
        if "://" in str(link.get("href")) or not linked.resolve().is_relative_to(root):
            raise SceneError(
                f"{place} links to {link.get('href')}, which is not in its folder; download it "
                "there and link to it by a relative path."
            )
        yield linked


def _prepared(item: SourceItem) -> tuple[dict[str, Any], Geometry]:
    """An item of today with its sensor, the assets that are bands of it, and its footprint."""
    found = pystac.Item.from_dict(item.content, migrate=True, preserve_dict=True)
    content = found.to_dict(include_self_link=False, transform_hrefs=False)
    if content.get("geometry") is None:
        raise SceneError(f"{found.id} of {item.place} has no footprint; add 'geometry'.")
    outline = shape(content["geometry"])
    properties = content["properties"]
    sensor = _sensor(properties, item)
    known = dict(_bands(content["assets"], sensor))
    if not known:
        raise SceneError(
            f"{found.id} of {item.place} has no asset that is one band of {sensor.id}; name bands "
            "by eo:common_name."
        )
    return {
        **content,
        "properties": {**_facts(properties), SENSOR: sensor.id},
        "bbox": list(outline.bounds),
        "links": [],
        "assets": {key: _plain(asset) for key, asset in known.items()},
    }, Geometry(outline, "EPSG:4326")


def _facts(properties: dict[str, Any]) -> dict[str, Any]:
    """The properties that a table of scenes has a column for."""
    times = {name: properties[name] for name in TIMES if properties.get(name) is not None}
    numbers = {name: number(properties.get(name)) for name in NUMBERS}
    return {
        **{name: datetime.fromisoformat(text).isoformat() for name, text in times.items()},
        **{name: value for name, value in numbers.items() if value is not None},
        "platform": str(properties.get("platform") or ""),
        "instruments": [str(name) for name in properties.get("instruments") or []],
    }


def _plain(asset: dict[str, Any]) -> dict[str, Any]:
    """The fields of an asset that a table of scenes has a column for."""
    kept = {key: asset[key] for key in ("href", "roles", "bands", BAND_INDEX) if key in asset}
    nodata = number(asset.get("nodata"))
    return kept if nodata is None else {**kept, "nodata": nodata}


def _bands(assets: dict[str, Any], sensor: Sensor) -> Iterator[tuple[str, dict[str, Any]]]:
    """The assets that hold one band each, by its common name; the first of several forms."""
    seen: set[str] = set()
    for key, asset in assets.items():
        roles = set(asset.get("roles") or ["data"])
        if roles & {"mask", "dem"} or (key == METADATA and not _is_elsewhere(asset)):
            yield key, asset
            continue
        bands = asset.get("bands") or asset.get("eo:bands") or []
        if key in _PICTURES or roles & _PICTURES or not roles & _KEPT_ROLES or not bands:
            continue
        names = [_common_name(band, sensor) for band in bands]
        if None in names or seen.intersection(names):
            continue
        seen.update(name for name in names if name)
        named = [{"name": name, "eo:common_name": name} for name in names]
        yield key, {**asset, "bands": named}


def _common_name(band: dict[str, Any], sensor: Sensor) -> str | None:
    for name in (band.get("eo:common_name"), band.get("common_name"), band.get("name")):
        try:
            return sensor.band(name or "").common_name
        except SensorError:
            continue
    return None


def _sensor(properties: dict[str, Any], item: SourceItem) -> Sensor:
    """What took an item: named by geoseg, or by platform and instruments."""
    if SENSOR in properties:
        return find_sensor(properties[SENSOR])
    platform = str(properties.get("platform", "")).lower().replace("_", "-").replace(" ", "-")
    instruments = {str(name).lower() for name in properties.get("instruments") or []}
    # Sentinel-2A, 2B and 2C are one sensor here.
    base = platform[:-1] if platform[:9] == "sentinel-" and platform[-1:].isalpha() else platform
    if "mss" in instruments and f"{base}-mss" in load_sensors():
        base = f"{base}-mss"
    if base in load_sensors():
        return find_sensor(base)
    raise SceneError(
        f"{_id_of(item)} of {item.place} is of platform {platform or 'none'!r}, which geoseg does "
        f"not know; add the property {SENSOR!r}, an id of `geoseg sensors list`."
    )


def _is_remote(content: dict[str, Any]) -> bool:
    return any(_is_elsewhere(asset) for asset in content["assets"].values())


def _is_elsewhere(asset: dict[str, Any]) -> bool:
    return "://" in str(asset["href"])


def _remote(content: dict[str, Any]) -> BrokenEntry:
    href = next(a["href"] for a in content["assets"].values() if _is_elsewhere(a))
    reason = (
        f"{content['id']} lies at {href}; it can be searched, and is mapped once its files have "
        "been downloaded and scanned."
    )
    return BrokenEntry(id=content["id"], reason=reason, kind=ProblemKind.REMOTE)


def _require_new(scene_id: str, ids: set[str], item: SourceItem) -> None:
    if scene_id in ids:
        raise SceneError(
            f"{item.place} holds an item named {scene_id!r} and is not the first to; give each an "
            "id of its own."
        )


def _id_of(item: SourceItem) -> str:
    content = item.content
    return str(content.get("id", "an item")) if isinstance(content, dict) else "an item"


def _range(interval: Interval) -> str:
    return "/".join(time.isoformat().replace("+00:00", "Z") for time in interval)
