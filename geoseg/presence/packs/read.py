"""Reading the places of a shard, one after the other."""

from __future__ import annotations

import tarfile
from typing import TYPE_CHECKING

import pyarrow as pa

from geoseg.errors import DataError, SceneError
from geoseg.presence.packs.pack import Pack, Problem, Shard, require_whole
from geoseg.presence.packs.pixels import Palette
from geoseg.presence.packs.stored import StoredPlace, decode_place
from geoseg.presence.packs.tables import read_table
from geoseg.presence.packs.tars import read_tar

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from geoseg.chips import Place
    from geoseg.presence.packs.pack import Foreign

__all__ = ["SHARD_SUFFIXES", "read_shard", "read_stored"]

SHARD_SUFFIXES = (".tar", ".parquet")


def read_shard(shard: Shard, pack: Pack) -> Iterator[Place | Problem]:
    """The places of a shard in its order, and what is wrong with those that are left out.

    One place is in memory at a time, or one group of rows of a Parquet file. A place with an image
    that cannot be read is left out whole, for what is said of it would rest on the others alone.

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
            yield decode_place(stored, palettes)
        except SceneError as error:
            yield Problem(stored.id, str(error))


def read_stored(path: Path, foreign: Foreign | None) -> Iterator[StoredPlace | Problem]:
    """The places of a shard as they are stored.

    Args:
        path: a tar in the layout of WebDataset, or Parquet.
        foreign: for what a tar of somebody else does not say.

    Raises:
        DataError: it cannot be read to its end.
    """
    try:
        if path.suffix == ".parquet":
            yield from read_table(path)
        else:
            yield from read_tar(path, foreign)
    except (tarfile.TarError, pa.ArrowException, OSError, SceneError, EOFError) as error:
        raise DataError(
            f"{path} cannot be read to its end ({error}); it is cut short or damaged: bring it "
            "back, or pack it again."
        ) from error
