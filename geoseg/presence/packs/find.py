"""Single places of a pack, by their ids, without reading what lies before them."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from geoseg.errors import DataError, SceneError
from geoseg.files import writing
from geoseg.presence.packs.pack import Problem, require_whole
from geoseg.presence.packs.pixels import Palette
from geoseg.presence.packs.read import places_of_shard, read_stored
from geoseg.presence.packs.stored import decode_place

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from pathlib import Path

    from geoseg.chips import Place
    from geoseg.presence.packs.kind import ImageKind
    from geoseg.presence.packs.pack import Pack
    from geoseg.presence.packs.stored import StoredPlace

__all__ = ["PlaceFinder", "Spot", "find_places"]

_SCHEMA = pa.schema([("id", pa.string()), ("shard", pa.int32()), ("at", pa.int64())])


class Spot(NamedTuple):
    """Where a place lies."""

    shard: int  # of the pack, from 0
    at: int  # byte of a tar file, row of a Parquet file


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PlaceFinder:
    """Reads single places of a pack."""

    pack: Pack
    index: Path  # ids and spots
    _palettes: Mapping[ImageKind, Palette]

    def spots(self, ids: Iterable[str]) -> dict[str, Spot]:
        """Where places lie, by id; those that the pack lacks are left out."""
        wanted = pa.array(list(dict.fromkeys(ids)), pa.string())
        found: dict[str, Spot] = {}
        with pq.ParquetFile(self.index) as table:
            for batch in table.iter_batches():
                for row in batch.filter(pc.is_in(batch["id"], wanted)).to_pylist():
                    found.setdefault(row["id"], Spot(row["shard"], row["at"]))
        return found

    def read(self, spot: Spot) -> Place | Problem:
        """A place with its masks, or why it cannot be shown; masks that are damaged are left out.

        Raises:
            DataError: its shard is gone, cut short or damaged.
        """
        shard = self.pack.shards[spot.shard]
        try:
            size = shard.path.stat().st_size
        except OSError as error:
            raise DataError(f"{shard.path} cannot be read ({error.strerror}).") from error
        if size != shard.bytes:
            raise DataError(
                f"{shard.path} has {size} bytes and had {shard.bytes} when it was packed; bring it "
                "back, or pack it again."
            )
        stored = next(read_stored(shard.path, self.pack.foreign, spot.at))
        if isinstance(stored, Problem):
            return stored
        try:
            return decode_place(stored, self._palettes)
        except SceneError:
            return self._without_masks(stored)

    def _without_masks(self, stored: StoredPlace) -> Place | Problem:
        try:
            return decode_place(stored.without_masks(), self._palettes)
        except SceneError as error:
            return Problem(stored.id, str(error))


def find_places(
    pack: Pack, folder: Path, on_shard: Callable[[int, int], None] = lambda _done, _total: None
) -> PlaceFinder:
    """What reads single places of a pack; its ids are listed once, in a file that is kept.

    Args:
        pack: of any number of places; memory does not grow with them.
        folder: gets the list of ids.
        on_shard: is told of every shard that is listed.

    Raises:
        DataError: a shard is gone, cut short or not what it was when it was packed.
        OutputError: the folder cannot be written.
    """
    index = folder / f"places-{_name_of(pack)}.parquet"
    if not index.is_file():
        with writing(index) as aside, pq.ParquetWriter(aside, _SCHEMA, compression="zstd") as table:
            for number, shard in enumerate(pack.shards):
                require_whole(shard)
                found = list(places_of_shard(shard.path))
                columns = [
                    [one[0] for one in found],
                    [number] * len(found),
                    [one[1] for one in found],
                ]
                table.write_table(pa.table(columns, schema=_SCHEMA))
                on_shard(number + 1, len(pack.shards))
    palettes = {kind: Palette(kind, pixels) for kind, pixels in pack.kinds.items()}
    return PlaceFinder(pack=pack, index=index, _palettes=palettes)


def _name_of(pack: Pack) -> str:
    """Changes when a shard does, or the order of shards."""
    return hashlib.sha256("".join(one.sha256 for one in pack.shards).encode()).hexdigest()[:16]
