"""Open data sets, fetched once into a cache or read from a local mirror."""

from __future__ import annotations

import os
import tomllib
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from geoseg.errors import ConfigError, DataError, nearest
from geoseg.files import sha256_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    import requests

__all__ = ["DataFile", "DataSet", "fetch", "find_data_set", "load_registry"]

MIRROR = "GEOSEG_DATA_MIRROR"
CACHE = "GEOSEG_CACHE"


@dataclass(frozen=True, slots=True, kw_only=True)
class DataFile:
    """One file of a data set."""

    path: str  # inside the folder of the set, with forward slashes
    bytes: int
    sha256: str
    url: str = ""  # where it does not lie under the set's base_url


@dataclass(frozen=True, slots=True, kw_only=True)
class DataSet:
    """An open data set: whose it is, where it lies, and what its files must hash to."""

    name: str
    title: str
    licence: str
    source: str  # page to cite and to read
    citation: str
    mirror: str  # folder in a local mirror
    files: tuple[DataFile, ...]
    base_url: str = ""  # followed by the path of a file
    note: str = ""  # what a set without a URL is made from, or what else to know of it

    def url_of(self, file: DataFile) -> str:
        """Where a file is downloaded from.

        Raises:
            DataError: it lies in mirrors only.
        """
        if file.url:
            return file.url
        if not self.base_url:
            raise DataError(
                f"{self.name} cannot be downloaded. {self.note} "
                f"Name by {MIRROR} a folder that holds it as {self.mirror}/."
            )
        return self.base_url + quote(file.path)


@cache
def load_registry() -> Mapping[str, DataSet]:
    """Every data set by its name."""
    sets = map(_data_set, tomllib.loads(_shipped("registry.toml"))["set"])
    return {data.name: data for data in sets}


def find_data_set(name: str) -> DataSet:
    """The data set of this name; an underscore is as good as a hyphen.

    Raises:
        ConfigError: there is none; the message names the nearest one.
    """
    registry = load_registry()
    hyphened = name.replace("_", "-")
    if hyphened not in registry:
        raise ConfigError(f"no data set named {name!r}. {nearest(hyphened, registry)}")
    return registry[hyphened]


def fetch(name: str, *, on_file: Callable[[str], None] | None = None) -> Path:
    """The folder with all files of a data set, each checked against its SHA-256.

    A mirror named by GEOSEG_DATA_MIRROR is read in place where it holds the set; otherwise files
    are downloaded once into the folder named by GEOSEG_CACHE, or the user's cache.

    Args:
        name: of the registry.
        on_file: is told of each file that is downloaded.

    Raises:
        ConfigError: no such data set.
        DataError: a file is missing, cannot be downloaded, or has other bytes than expected.
    """
    data = find_data_set(name)
    folder = _mirrored(data)
    if folder is None:
        return _from_source(data, on_file or (lambda _: None))
    for file in data.files:
        path = folder / file.path
        if not path.is_file():
            raise DataError(f"{path} is missing; complete the mirror or unset {MIRROR}.")
        if sha256_of(path) != file.sha256:
            raise DataError(
                f"{path} has other bytes than the registry expects; fetch it into the mirror again."
            )
    return folder


def _data_set(row: dict[str, Any]) -> DataSet:
    """A set with its files, which stand in its row or, where they are many, in a listing."""
    if "listing" not in row:
        return DataSet(**{**row, "files": tuple(DataFile(**file) for file in row["files"])})
    lines = (line.split(maxsplit=2) for line in _shipped(row["listing"]).splitlines())
    listed = tuple(DataFile(path=path, bytes=int(size), sha256=sha) for sha, size, path in lines)
    return DataSet(**{key: row[key] for key in row if key != "listing"}, files=listed)


def _shipped(name: str) -> str:
    return files("geoseg.data").joinpath(name).read_text(encoding="utf-8")


def _mirrored(data: DataSet) -> Path | None:
    named = os.environ.get(MIRROR)
    if not named:
        return None
    mirror = Path(named).expanduser()
    # A mistyped mirror must not become a download that nobody asked for.
    if not mirror.is_dir():
        raise DataError(f"{MIRROR} names {mirror}, which is no folder; correct or unset it.")
    folder = mirror / data.mirror
    return folder if folder.is_dir() else None


def _from_source(data: DataSet, on_file: Callable[[str], None]) -> Path:
    import pooch  # not needed where a mirror is

    pooch.get_logger().setLevel("ERROR")
    cached = Path(os.environ.get(CACHE) or pooch.os_cache("geoseg")).expanduser()
    folder = cached / data.name
    for file in data.files:
        url = data.url_of(file)
        if not (folder / file.path).exists():
            on_file(f"Fetching {url} ({file.bytes / 1e6:.1f} MB)")
        _download(url, file, folder, mirror=data.mirror)
    return folder


def _download(url: str, file: DataFile, folder: Path, *, mirror: str) -> None:
    import pooch
    import requests

    try:
        pooch.retrieve(url, known_hash=file.sha256, fname=file.path, path=folder)
    except requests.RequestException as error:
        raise DataError(
            f"{url} cannot be fetched ({_reason(error)}); try again, or get the set elsewhere and "
            f"name by {MIRROR} a folder that holds it as {mirror}/."
        ) from error
    except OSError as error:
        raise DataError(
            f"{folder / file.path} cannot be written ({error.strerror or error}); name another "
            f"folder by {CACHE}."
        ) from error
    except ValueError as error:
        raise DataError(
            f"{url} gave other bytes than the registry expects; try again, and if they stay other, "
            "the file changed at its source."
        ) from error


def _reason(error: requests.RequestException) -> str:
    if error.response is None:
        return type(error).__name__
    return f"HTTP {error.response.status_code}"
