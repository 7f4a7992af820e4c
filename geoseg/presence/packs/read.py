"""Reading the places of a shard, one after the other."""

from __future__ import annotations

import math
import tarfile
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

from geoseg.errors import DataError, SceneError
from geoseg.parquet import DAMAGED
from geoseg.presence.packs.pack import Pack, Problem, Shard, is_utf8, require_whole
from geoseg.presence.packs.pixels import Palette
from geoseg.presence.packs.stored import StoredPlace, decode_place
from geoseg.presence.packs.tables import places_of_table, read_table
from geoseg.presence.packs.tars import places_of_tar, read_tar

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from geoseg.chips import Place
    from geoseg.presence.packs.pack import Foreign

__all__ = ["SHARD_SUFFIXES", "places_of_shard", "read_shard", "read_stored"]

SHARD_SUFFIXES = (".tar", ".parquet")
_CUT_SHORT = (*DAMAGED, tarfile.TarError, SceneError, EOFError)


def read_shard(shard: Shard, pack: Pack) -> Iterator[Place | Problem]:
    """The places of a shard in its order, and what is wrong with those that are left out.

    One place is in memory at a time, or one group of rows of a Parquet file. A place with an image
    that cannot be read is left out whole, for what is said of it would rest on the others alone.
    Masks are not read: who learns from them takes `decode_place`.

    Args:
        shard: of the pack.
        pack: what is said of all its shards.

    Raises:
        DataError: it is gone, cut short, or not what it was when it was packed.
    """
    require_whole(shard)
    palettes = {kind: Palette(kind, pixels) for kind, pixels in pack.kinds.items()}
    for stored in read_stored(shard.path, pack.foreign):
        if isinstance(stored, Problem):
            yield stored
            continue
        try:
            yield decode_place(stored.without_masks(), palettes)
        except SceneError as error:
            yield Problem(stored.id, str(error))


def read_stored(
    path: Path, foreign: Foreign | None, start: int = 0
) -> Iterator[StoredPlace | Problem]:
    """The places of a shard as they are stored.

    Args:
        path: a tar in the layout of WebDataset, or Parquet.
        foreign: for what shards of somebody else do not say.
        start: where a place begins, as `places_of_shard` says, to go on from.

    Raises:
        DataError: it cannot be read to its end.
    """
    with _to_its_end(path):
        tabular = path.suffix == ".parquet"
        found = read_table(path, start) if tabular else read_tar(path, foreign, start)
        for place in found:
            yield _legible(_labelled(place, foreign))


def places_of_shard(path: Path) -> Iterator[tuple[str, int]]:
    """Ids of the places of a shard in its order, each with where it begins.

    Raises:
        DataError: it cannot be read to its end.
    """
    with _to_its_end(path):
        yield from places_of_table(path) if path.suffix == ".parquet" else places_of_tar(path)


@contextmanager
def _to_its_end(path: Path) -> Iterator[None]:
    try:
        yield
    except _CUT_SHORT as error:
        raise DataError(
            f"{path} cannot be read to its end ({error}); it is cut short or damaged: bring it "
            "back, or pack it again."
        ) from error


def _labelled(place: StoredPlace | Problem, foreign: Foreign | None) -> StoredPlace | Problem:
    """With what is known of it beside its shard, which wins."""
    if isinstance(place, Problem) or foreign is None or not foreign.labels:
        return place
    known = foreign.labels.get(place.id)
    if known is None:
        return place
    return replace(
        place,
        present=place.present if known.present is None else known.present,
        lon=place.lon if math.isnan(known.lon) else known.lon,
        lat=place.lat if math.isnan(known.lat) else known.lat,
    )


def _legible(place: StoredPlace | Problem) -> StoredPlace | Problem:
    """A problem in place of a name that no result could hold; problems in text that can be."""
    if isinstance(place, StoredPlace):
        if is_utf8(place.id):
            return place
        place = Problem(place.id, "its name is no UTF-8; rename it.")
    return Problem(*(text.encode("utf-8", "backslashreplace").decode() for text in place))
