"""A probability map, reduced to the presence of one class in chips: from file to file."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple, Protocol

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import rasterio
import shapely

from geoseg.errors import SceneError, nearest
from geoseg.files import writing
from geoseg.grids import crs_of, raster_grid, require_metres
from geoseg.labels import IGNORE
from geoseg.presence.reduction.chips import ChipPixels
from geoseg.presence.reduction.compare import compare_reductions
from geoseg.presence.reduction.learned import cross_validated
from geoseg.presence.reduction.objects import FEATURES, ObjectRule, features_of, find_objects
from geoseg.presence.reduction.rules import maximum, noisy_or, top_k_mean
from geoseg.presence.reduction.truth import present_by_outlines
from geoseg.scenes import open_raster, reading

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from numpy.typing import NDArray
    from odc.geo.geobox import GeoBox
    from rasterio.io import DatasetReader

    from geoseg.presence.reduction.chips import Chips
    from geoseg.presence.reduction.compare import ReductionScore
    from geoseg.presence.reduction.learned import LearnedReduction

__all__ = ["Reduced", "Reduction", "map_grid", "probability_map", "reduce_map"]

RULES = ("maximum", "top_k_mean", "noisy_or")
_CACHE_BYTES = 128 * 2**20  # chips that follow each other lie in the same blocks
_BLOCK_M = 1000.0  # of ground that stays in one fold: an object and its neighbours


class ChipSource(Protocol):
    """Chips, some at a time."""

    @property
    def parts(self) -> int:
        """How many times."""

    def __iter__(self) -> Iterator[Chips]:
        """Some chips."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reduction:
    """What is made of a map, and by which rules."""

    map: Path  # a band a class, as probability_map finds it
    target: str  # name of the band
    min_area_m2: float  # of the smallest object
    learned: LearnedReduction | None = None  # one more column
    outlines: NDArray[np.object_] | None = None  # the truth, in the reference system of the map


class Reduced(NamedTuple):
    """What was written."""

    chips: int
    unknown: int  # without a valid pixel
    present: int | None  # by the outlines
    scores: list[ReductionScore]  # empty without outlines
    features: NDArray[np.float64]  # (N, F) where there are outlines, else (0, F)
    truth: NDArray[np.bool_]  # (N,) likewise


def probability_map(path: Path) -> Path:
    """The probabilities of a folder of maps, or the file itself.

    Raises:
        SceneError: the folder has none.
    """
    if not path.is_dir():
        return path
    found = path / "probability.tif"
    if not found.is_file():
        raise SceneError(
            f"{path} holds no probability.tif; map the scene with inference.probability=true."
        )
    return found


def map_grid(path: Path) -> GeoBox:
    """The pixels of a map.

    Raises:
        SceneError: it cannot be read.
        GridError: it is not in metres, so that the area of an object has no meaning.
    """
    with open_raster(path) as raster:
        grid = raster_grid(raster)
    require_metres(crs_of(grid), "Chips and smallest objects")
    return grid


def reduce_map(
    reduction: Reduction,
    chips: ChipSource,
    out: Path,
    *,
    on_part: Callable[[int, int], None] | None = None,
) -> Reduced:
    """Write a GeoParquet with a row a chip, and score the rules where outlines are given.

    Columns: chip_id, geometry (in the reference system of the map), valid (share of pixels with
    data), a probability for each rule (empty where no pixel is valid) and, with outlines, present.

    The map is read chip by chip. Without outlines memory does not grow with the number of chips;
    with them some hundred bytes a chip are kept for the comparison.

    Args:
        reduction: what to make.
        chips: where.
        out: the .parquet, replaced when it exists, whole or not at all.
        on_part: is told of every part of the chips, and how many there are.

    Raises:
        SceneError: the map cannot be read, or lacks the class.
        GridError: it is not in metres.
        LabelError: all chips are present by the outlines, or none.
        OutputError: the file cannot be written.
    """
    grid = map_grid(reduction.map)
    rule = ObjectRule(
        min_area_m2=reduction.min_area_m2, pixel_m2=abs(grid.resolution.x * grid.resolution.y)
    )
    schema = _schema(reduction, grid)
    tally = _Tally()
    with (
        rasterio.Env(GDAL_CACHEMAX=_CACHE_BYTES),
        open_raster(reduction.map) as raster,
        reading(reduction.map),
        writing(out) as aside,
        pq.ParquetWriter(aside, schema, compression="zstd") as table,
    ):
        band = _band_of(raster, reduction)
        for number, some in enumerate(chips, start=1):
            found = _reduced(some, raster, band, grid, rule)
            columns = _columns(some, found, reduction)
            table.write_batch(pa.RecordBatch.from_pydict(columns, schema=schema))
            tally.add(some, found, columns)
            if on_part is not None:
                on_part(number, chips.parts)
    return tally.reduced()


class _Found(NamedTuple):
    """Of some chips (N,)."""

    valid: NDArray[np.float64]
    rules: NDArray[np.float64]  # (N, 3), as RULES names them
    features: NDArray[np.float64]  # (N, F)


def _reduced(
    chips: Chips, raster: DatasetReader, band: int, grid: GeoBox, rule: ObjectRule
) -> _Found:
    scale = raster.scales[band - 1]
    valid_share, rules, features = [], [], []
    for shape in chips.shapes:
        pixels = ChipPixels.of(shape, grid)
        stored = _read(raster, band, pixels)
        valid = pixels.inside & (stored != IGNORE)
        chance = stored * np.float64(scale)
        objects = find_objects(chance, valid, rule)
        top = top_k_mean(chance, valid, pixels=rule.min_px)
        rules.append((maximum(chance, valid), top, noisy_or(objects, valid)))
        features.append(features_of(chance, valid, objects, rule))
        valid_share.append(np.count_nonzero(valid) / max(pixels.total, 1))
    return _Found(
        np.array(valid_share),
        np.array(rules).reshape(-1, len(RULES)),
        np.array(features).reshape(-1, len(FEATURES)),
    )


def _read(raster: DatasetReader, band: int, pixels: ChipPixels) -> NDArray[np.uint8]:
    if not pixels.inside.size:
        return np.empty(pixels.inside.shape, dtype=np.uint8)
    return np.asarray(raster.read(band, window=pixels.window))


def _band_of(raster: DatasetReader, reduction: Reduction) -> int:
    names = [str(name) for name in raster.descriptions]
    if raster.dtypes[0] != "uint8" or raster.descriptions[0] is None:
        raise SceneError(
            f"{reduction.map} is no map of probabilities; give the probability.tif of `geoseg "
            "predict`, not its classes."
        )
    if reduction.target not in names:
        raise SceneError(
            f"{reduction.map} has no band {reduction.target!r}. {nearest(reduction.target, names)}"
        )
    return names.index(reduction.target) + 1


def _columns(chips: Chips, found: _Found, reduction: Reduction) -> dict[str, object]:
    columns: dict[str, object] = {
        "chip_id": chips.ids,
        "geometry": shapely.to_wkb(chips.shapes).tolist(),
        "valid": found.valid,
    }
    # from_pandas: NaN is a missing value.
    for name, chance in zip(RULES, found.rules.T, strict=True):
        columns[name] = pa.array(chance, from_pandas=True)
    if reduction.learned is not None:
        chance = reduction.learned.probability(found.features)
        columns["learned"] = pa.array(chance, from_pandas=True)
    if reduction.outlines is not None:
        columns["present"] = present_by_outlines(
            chips.shapes, reduction.outlines, min_area_m2=reduction.min_area_m2
        )
    return columns


def _schema(reduction: Reduction, grid: GeoBox) -> pa.Schema:
    names = [*RULES, *([] if reduction.learned is None else ["learned"])]
    geometry = {
        "encoding": "WKB",
        "geometry_types": [],
        "crs": crs_of(grid).to_json_dict(),
    }
    about = {"version": "1.1.0", "primary_column": "geometry", "columns": {"geometry": geometry}}
    return pa.schema(
        {
            "chip_id": pa.string(),
            "geometry": pa.binary(),
            "valid": pa.float64(),
            **dict.fromkeys(names, pa.float64()),
            **({} if reduction.outlines is None else {"present": pa.bool_()}),
        },
        metadata={"geo": json.dumps(about)},
    )


class _Tally:
    """Counts chips, and keeps of them what the comparison needs."""

    def __init__(self) -> None:
        self._chips = self._unknown = 0
        self._rules: list[NDArray[np.float64]] = []
        self._features: list[NDArray[np.float64]] = [np.empty((0, len(FEATURES)))]
        self._truth: list[NDArray[np.bool_]] = [np.empty(0, dtype=bool)]
        self._places: list[NDArray[np.float64]] = []

    def add(self, chips: Chips, found: _Found, columns: dict[str, object]) -> None:
        self._chips += len(chips.ids)
        self._unknown += int((found.valid == 0).sum())
        if "present" in columns:
            self._rules.append(found.rules)
            self._features.append(found.features)
            self._truth.append(np.asarray(columns["present"]))
            self._places.append(shapely.bounds(chips.shapes)[:, :2])

    def reduced(self) -> Reduced:
        truth, features = np.concatenate(self._truth), np.concatenate(self._features)
        if not self._rules:
            return Reduced(self._chips, self._unknown, None, [], features, truth)
        rules = dict(zip(RULES, np.concatenate(self._rules).T, strict=True))
        blocks = np.floor(np.concatenate(self._places) / _BLOCK_M)
        _, groups = np.unique(blocks, axis=0, return_inverse=True)
        rules["learned"] = cross_validated(features, truth, groups.ravel())
        scores = compare_reductions(rules, truth)
        return Reduced(self._chips, self._unknown, int(truth.sum()), scores, features, truth)
