"""Vector files, opened with care: those that point elsewhere are refused before GDAL sees them.

GDAL tells a format by its content, and pyogrio takes no list of drivers. A file called labels.gpkg
may so be a virtual layer, a service or a pipeline, which reads any file of the machine and any host
in its name; a GeoJSON may have its reference system fetched. What is listed here holds all it says.
"""

from __future__ import annotations

import re
import zipfile
from contextlib import contextmanager
from mmap import ACCESS_READ, mmap
from typing import TYPE_CHECKING

from pyogrio.errors import CRSError, DataSourceError, FeatureError, FieldError, GeometryError
from shapely.errors import GEOSException

from geoseg.errors import GeosegError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

__all__ = ["opening"]

_HEAD_BYTES = 2**16  # GDAL looks at 1 KiB, at more where the text of one of its formats is long
_MEMBERS, _MEMBER_BYTES = 1000, 2**28  # of an archive
_ARCHIVE_BYTES = 2**30  # of it that are unpacked to be looked at
_ARCHIVES = frozenset({".kmz", ".zip"})
_JSON = frozenset({".geojson", ".geojsonl", ".json"})
# By their first bytes. A zero byte there ends the text that GDAL would search for a virtual layer.
_BEGIN = {
    ".fgb": re.compile(rb"fgb\x03fgb"),
    ".gpkg": re.compile(rb"SQLite format 3\x00"),
    ".kml": re.compile(
        rb"(\xef\xbb\xbf)?\s*+(<\?xml[^>]*>\s*+)?+(<!--.*?-->\s*+)*+<kml\s", re.DOTALL
    ),
    ".shp": re.compile(rb"\x00\x00\x27\x0a"),
    **dict.fromkeys(_ARCHIVES, re.compile(rb"PK\x03\x04")),
    **dict.fromkeys(_JSON, re.compile(rb"(\xef\xbb\xbf)?[\s\x1e]*+[{\[]")),
}
# By which GDAL tells virtual layers, services, pipelines and GML, whose schema it would fetch.
_ELSEWHERE = re.compile(
    rb"<ogr|<vrtdataset|<gdal|<csw|wfs_capabilities|gdal_streamed_alg|opengis\.net/gml",
    re.IGNORECASE,
)
# A reference system of GeoJSON: an object of one level in it, else nothing that GDAL looks into.
_CRS = re.compile(
    rb"""["']crs["']\s*+(:\s*+(\{([^{}]{0,999}\{[^{}]{0,999}\})?[^{}]{0,999}\}|[^{/])|[,}\]])""",
    re.IGNORECASE,
)
_ANY_CRS = re.compile(rb"""["']crs["']""", re.IGNORECASE)
_FETCHED = re.compile(rb"""["'](?:link|url)["']""", re.IGNORECASE)
# No writer escapes letters.
_HIDDEN = re.compile(rb"\\u00(?:[46][1-9a-f]|[57][0-9a])", re.IGNORECASE)


@contextmanager
def opening(path: Path) -> Iterator[Path]:
    """The same path, of a vector file that holds all it says, to be read in this block.

    A GeoPackage, Shapefile, GeoJSON, FlatGeobuf or KML, such files in an archive (.zip, .kmz), or a
    file geodatabase (.gdb).

    Raises:
        DataSourceError: it is none of these, whatever its name says, or it is damaged.
    """
    _require_listed(path)
    try:
        yield path
    except (CRSError, FeatureError, FieldError, GeometryError, GEOSException) as error:
        raise DataSourceError(f"{path.name} is damaged: {error}") from error
    except UnicodeDecodeError as error:
        raise DataSourceError(f"{path.name} holds text that is no UTF-8: {error}") from error
    except ValueError as error:
        if isinstance(error, GeosegError):
            raise
        # Such as a day of the year -2000, which no date of Python is of.
        raise DataSourceError(f"{path.name} holds what cannot be read: {error}") from error


def _require_listed(path: Path) -> None:
    suffix = path.suffix.lower()
    try:
        if suffix == ".gdb":
            good = (path / "a00000001.gdbtable").is_file()
        elif path.stat().st_size == 0:
            good = False
        else:
            with path.open("rb") as file, mmap(file.fileno(), 0, access=ACCESS_READ) as content:
                good = _is_listed(suffix, content)
            if suffix in _ARCHIVES:
                good = good and _holds_listed(path)
    except (OSError, zipfile.BadZipFile, NotImplementedError, RuntimeError) as error:
        raise DataSourceError(f"{path.name} cannot be read: {error}") from error
    if not good:
        raise DataSourceError(
            f"{path.name} is no GeoPackage, Shapefile, GeoJSON, FlatGeobuf, KML or file "
            "geodatabase, or points to others"
        )


def _is_listed(suffix: str, content: bytes | mmap) -> bool:
    """Whether a file is what its name says, and leads to nothing else."""
    begin = _BEGIN.get(suffix)
    if begin is None or begin.match(content, 0, _HEAD_BYTES) is None:
        return False
    return not _points_elsewhere(content) and not (suffix in _JSON and _fetches(content))


def _points_elsewhere(content: bytes | mmap) -> bool:
    return _ELSEWHERE.search(content, 0, _HEAD_BYTES) is not None


def _fetches(content: bytes | mmap) -> bool:
    """Whether GDAL would look up the reference system of a GeoJSON at some host."""
    for found in _ANY_CRS.finditer(content):
        stated = _CRS.match(content, found.start())
        if stated is None or _FETCHED.search(stated[0]):
            return True
    return _HIDDEN.search(content) is not None


def _holds_listed(path: Path) -> bool:
    """Whether an archive holds a file of a listed kind, and none that points elsewhere."""
    with zipfile.ZipFile(path) as archive:
        files = [info for info in archive.infolist() if not info.is_dir()]
        if len(files) > _MEMBERS:
            return False
        kinds = looked_at = 0
        for info in files:
            suffix = f".{info.filename.lower().rpartition('.')[2]}"
            with archive.open(info) as member:
                content = member.read(_MEMBER_BYTES if suffix in _JSON else _HEAD_BYTES)
            looked_at += len(content)
            if looked_at > _ARCHIVE_BYTES:
                return False
            is_kind = suffix in _BEGIN and suffix not in _ARCHIVES
            good = _is_listed(suffix, content) if is_kind else not _points_elsewhere(content)
            if not good or (suffix in _JSON and info.file_size > _MEMBER_BYTES):
                return False
            kinds += is_kind
        return kinds > 0
