"""Packs: images of very many places in a few large files."""

from geoseg.presence.packs.build import (
    PROBLEMS,
    Packed,
    make_pack,
    write_problems,
)
from geoseg.presence.packs.find import PlaceFinder, Spot, find_places
from geoseg.presence.packs.folder import Described, list_chips, list_shards
from geoseg.presence.packs.given import Given
from geoseg.presence.packs.kind import ImageKind
from geoseg.presence.packs.labels import read_labels
from geoseg.presence.packs.pack import Foreign, Known, Pack, Problem, Shard, read_pack
from geoseg.presence.packs.points import Point, read_points, scenes_of
from geoseg.presence.packs.read import read_shard
from geoseg.presence.packs.sources import Chips, Points, Shards
from geoseg.presence.packs.stored import StoredImage, StoredPlace

__all__ = [
    "PROBLEMS",
    "Chips",
    "Described",
    "Foreign",
    "Given",
    "ImageKind",
    "Known",
    "Pack",
    "Packed",
    "PlaceFinder",
    "Point",
    "Points",
    "Problem",
    "Shard",
    "Shards",
    "Spot",
    "StoredImage",
    "StoredPlace",
    "find_places",
    "list_chips",
    "list_shards",
    "make_pack",
    "read_labels",
    "read_pack",
    "read_points",
    "read_shard",
    "scenes_of",
    "write_problems",
]
