"""Packs: images of very many places in a few large files."""

from geoseg.presence.packs.build import (
    PROBLEMS,
    Chips,
    Packed,
    Points,
    Shards,
    make_pack,
    write_problems,
)
from geoseg.presence.packs.folder import Described, list_chips
from geoseg.presence.packs.given import Given
from geoseg.presence.packs.kind import ImageKind
from geoseg.presence.packs.labels import read_labels
from geoseg.presence.packs.pack import Foreign, Pack, Problem, Shard, read_pack
from geoseg.presence.packs.points import Point, read_points, scenes_of
from geoseg.presence.packs.read import SHARD_SUFFIXES, read_shard
from geoseg.presence.packs.stored import StoredImage, StoredPlace

__all__ = [
    "PROBLEMS",
    "SHARD_SUFFIXES",
    "Chips",
    "Described",
    "Foreign",
    "Given",
    "ImageKind",
    "Pack",
    "Packed",
    "Point",
    "Points",
    "Problem",
    "Shard",
    "Shards",
    "StoredImage",
    "StoredPlace",
    "list_chips",
    "make_pack",
    "read_labels",
    "read_pack",
    "read_points",
    "read_shard",
    "scenes_of",
    "write_problems",
]
