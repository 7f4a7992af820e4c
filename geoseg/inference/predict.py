"""A whole scene through networks, to be stopped at any moment and gone on with."""

from __future__ import annotations

import hashlib
import json
import os
from contextlib import ExitStack, closing, contextmanager
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import numpy as np
import rasterio
import torch
from rasterio.errors import RasterioError

from geoseg import __version__
from geoseg.errors import OutputError
from geoseg.files import checksums_beside, sweep, write_checksums, writing
from geoseg.grids import gsd_m
from geoseg.inference.chance import Mapper
from geoseg.inference.layers import Layers
from geoseg.inference.maps import (
    PROBABILITY_STEPS,
    describe_classes,
    describe_probability,
    describe_uncertainty,
    write_cog,
)
from geoseg.inference.origin import origin_tags
from geoseg.inference.parts import Parts, open_parts, remove_parts
from geoseg.inference.plan import cache_bytes, plan_tiles
from geoseg.inference.prevalence import adapted, prevalence_ratio, ratio_at
from geoseg.inference.stream import Done, strips
from geoseg.labels import IGNORE
from geoseg.models import AnyInput, Segmenter
from geoseg.scenes import band_names, open_raster, open_scene

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray
    from odc.geo.geobox import GeoBox
    from rasterio.io import DatasetWriter

    from geoseg.config import InferenceSettings
    from geoseg.inference.maps import Prediction
    from geoseg.inference.stream import OnTile
    from geoseg.inference.tiles import TileGrid
    from geoseg.models import ModelSpec
    from geoseg.scenes import Scene, SceneReader

__all__ = ["open_input", "predict_scene"]

_JOB = "job"  # tag of the maps: all that decided them
_GDAL = {
    # Blocks are decoded by all cores at once: one that is busy holds up the network on the others.
    "GDAL_NUM_THREADS": "ALL_CPUS",
    # Strips are read one after the other; each one that is kept open takes memory.
    "GDAL_MAX_DATASET_POOL_SIZE": 4,
}
_SAMPLE_SIDE = 160  # pixels a side from which prevalence is estimated


def predict_scene(
    segmenters: Segmenter | Sequence[Segmenter],
    scene: Scene,
    settings: InferenceSettings,
    *,
    prediction: Prediction,
    device: torch.device,
    tags: Mapping[str, str],
    on_tile: OnTile,
) -> Prediction:
    """Map a scene, or go on with a map that was stopped.

    A network for any bands is shown all that the scene has; one for fixed bands those it knows. The
    rows that are finished are kept beside the maps until all are: a run that was killed is gone on
    with by the same call, and what it leaves is the same to the byte. A map that is done is not
    made again.

    Args:
        segmenters: the trained network, or several whose probabilities are averaged; moved to the
            device.
        scene: of any sensor.
        settings: pixel of the map, tiles, test-time augmentation, what is kept.
        prediction: where the maps go; returned. Those that it does not name are not written.
        device: where the networks compute.
        tags: provenance for the metadata of all maps.
        on_tile: is told of every tile.

    Raises:
        SceneError: the scene lacks a band of the network, or a file cannot be read.
        ModelError: the networks do not fit together, or give numbers that are not finite.
        ConfigError: an uncertainty that these networks cannot give.
        OutputError: the maps cannot be written, or another run is writing them.
    """
    networks = [segmenters] if isinstance(segmenters, Segmenter) else list(segmenters)
    spec = networks[0].spec
    layers = Layers.of(len(spec.scheme.classes), prediction, settings)
    alone = layers.class_alone and settings.blend == "crop"
    mapper = Mapper(networks, settings, device, order_only=alone)
    with ExitStack() as stack:
        stack.enter_context(rasterio.Env(**_GDAL))
        first = stack.enter_context(open_input(spec, scene, settings))
        grid = plan_tiles(first.grid, settings)
        readers = [first]
        for _ in range(_reader_count(device, grid) - 1):
            readers.append(stack.enter_context(open_input(spec, scene, settings)))
        job = _job(networks, scene, settings, device, tags, grid, len(readers))
        working = prediction.classes.with_name(f".{prediction.classes.name}.unfinished")
        if _is_done(prediction, digest := _digest_of(job)):
            remove_parts(working)
            if not checksums_beside(prediction.classes).is_file():
                write_checksums(prediction.paths)
            on_tile(grid.count, grid.count)
            return prediction
        stack.enter_context(rasterio.Env(GDAL_CACHEMAX=cache_bytes(first, grid)))
        with open_parts(working, job) as folder:
            for path in (*prediction.paths, checksums_beside(prediction.classes)):
                sweep(path)
            parts = Parts(folder, first.grid)
            done = Done(len(parts), parts.overlap())
            mapped = strips(
                readers, mapper, grid, layers, batch=settings.batch, done=done, on_tile=on_tile
            )
            with closing(mapped):
                for strip in mapped:
                    parts.add(strip.layers, strip.overlap)
            if settings.prevalence_reach_m > 0:
                parts = _corrected(parts, first.grid, layers, spec, settings)
            _write_maps(
                parts, prediction, layers, spec, {**tags, **origin_tags(scene), _JOB: digest}
            )
    return prediction


@contextmanager
def open_input(spec: ModelSpec, scene: Scene, settings: InferenceSettings) -> Iterator[SceneReader]:
    """A reader of what a network is shown of a scene, on the grid of the map.

    Raises:
        SceneError: the scene lacks a band of the network, or a file cannot be opened.
        GridError: the bands do not lie on the same ground.
    """
    names = band_names(scene) if isinstance(spec.input, AnyInput) else spec.input.bands
    with open_scene(scene, names) as reader:
        finest = spec.input.gsd_m[0] if isinstance(spec.input, AnyInput) else None
        wanted_m = settings.gsd_m or finest
        coarser = 1 if wanted_m is None else max(1, round(wanted_m / gsd_m(reader.grid)))
        if coarser == 1:
            yield reader
            return
    with open_scene(scene, names, coarser=coarser) as reader:
        yield reader


def _reader_count(device: torch.device, grid: TileGrid) -> int:
    """Threads that read: beside a network on the CPU one keeps up, a GPU waits for several."""
    wanted = 1 if device.type == "cpu" else max(1, min(8, (os.cpu_count() or 1) - 1))
    return min(wanted, len(grid.columns.starts))


def _job(
    networks: Sequence[Segmenter],
    scene: Scene,
    settings: InferenceSettings,
    device: torch.device,
    tags: Mapping[str, str],
    grid: TileGrid,
    readers: int,
) -> dict[str, Any]:
    """All that decides the bytes of the maps."""
    return {
        "geoseg": __version__,
        "torch": torch.__version__,
        "threads": torch.get_num_threads(),
        "device": str(device),
        "networks": [_digest(network) for network in networks],
        "scene": _described(scene),
        "settings": settings.model_dump(mode="json"),
        "tiles": asdict(grid),
        "readers": readers,
        "tags": dict(tags),
    }


def _digest_of(job: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(job, sort_keys=True).encode()).hexdigest()


def _is_done(prediction: Prediction, digest: str) -> bool:
    """Whether an earlier run of the same job ended: the class map is written last."""
    if not all(path.is_file() for path in prediction.paths):
        return False
    with open_raster(prediction.classes) as raster:
        return bool(raster.tags().get(_JOB) == digest)


def _digest(network: Segmenter) -> str:
    """SHA-256 of what a network is and of its weights."""
    digest = hashlib.sha256(repr((network.spec, network)).encode())
    for name, tensor in network.state_dict().items():
        digest.update(name.encode())
        digest.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy())
    return digest.hexdigest()


def _described(scene: Scene) -> dict[str, Any]:
    """A scene and the state of its files, by size and time: to read them all would take long."""
    assets = [*scene.bands.values(), *([scene.mask] if scene.mask else [])]
    paths = sorted({asset.path for asset in assets} | ({scene.dem} if scene.dem else set()))
    stats = [path.stat() for path in paths]
    return {
        "scene": repr(scene),
        "files": [(str(p), s.st_size, s.st_mtime_ns) for p, s in zip(paths, stats, strict=True)],
    }


def _corrected(
    raw: Parts, grid: GeoBox, layers: Layers, spec: ModelSpec, settings: InferenceSettings
) -> Parts:
    """The strips with classes as common as they are about each pixel, not as in training."""
    step_px = max(1, -(-max(grid.shape) // _SAMPLE_SIDE))
    reach_px = settings.prevalence_reach_m / gsd_m(grid) / step_px
    sampled = _sampled(raw, layers, step_px)
    ratio = prevalence_ratio(sampled, spec.prior, reach_px=reach_px)
    corrected = Parts(raw.folder / "corrected", grid)
    for number in range(len(corrected), len(raw)):
        done = []
        for top, stored in raw.chunks(number):
            rows = range(top, top + stored.shape[1])
            here = ratio_at(ratio, step_px=step_px, rows=rows, width=stored.shape[2])
            chance = adapted(stored[1 : 1 + layers.classes].astype(np.float32), here)
            spread = stored[-1].astype(np.float32) / PROBABILITY_STEPS
            found = layers.encode(torch.from_numpy(chance)[None], torch.from_numpy(spread)[None])
            done.append(np.where(stored[0] != IGNORE, found[0].numpy(), np.uint8(IGNORE)))
        corrected.add(np.concatenate(done, axis=1), None)
    return corrected


def _sampled(raw: Parts, layers: Layers, step_px: int) -> NDArray[np.float32]:
    """Probabilities (K, h, w) of every so many pixels; NaN without data."""
    found = []
    for number in range(len(raw)):
        for top, stored in raw.chunks(number):
            first = -(top - step_px // 2) % step_px
            some = stored[: 1 + layers.classes, first::step_px, step_px // 2 :: step_px]
            chance = some[1:].astype(np.float32) / PROBABILITY_STEPS
            found.append(np.where(some[0] != IGNORE, chance, np.float32(np.nan)))
    return np.concatenate(found, axis=1)


def _write_maps(
    parts: Parts,
    prediction: Prediction,
    layers: Layers,
    spec: ModelSpec,
    tags: Mapping[str, str],
) -> None:
    """Make the maps of the finished strips."""
    scheme, chances = spec.scheme, range(2, 2 + layers.classes)

    def of_classes(raster: DatasetWriter) -> None:
        describe_classes(raster, scheme, tags)

    def of_probability(raster: DatasetWriter) -> None:
        describe_probability(raster, scheme, tags)

    def of_uncertainty(raster: DatasetWriter) -> None:
        describe_uncertainty(raster, layers.uncertainty, tags)

    # Those of an older map would speak against this one.
    checksums_beside(prediction.classes).unlink(missing_ok=True)
    # The class map comes last: where it is, all are.
    if prediction.uncertainty is not None:
        _write_map(parts, prediction.uncertainty, [layers.count], of_uncertainty, "average")
    if prediction.probability is not None:
        _write_map(parts, prediction.probability, chances, of_probability, "average")
    _write_map(parts, prediction.classes, [1], of_classes, "mode")
    write_checksums(prediction.paths)


def _write_map(
    parts: Parts,
    path: Path,
    bands: Sequence[int],
    describe: Callable[[DatasetWriter], None],
    overviews: str,
) -> None:
    virtual = parts.as_raster(bands)
    with rasterio.open(virtual, "r+", driver="VRT") as raster:
        describe(raster)
    with writing(path) as aside:
        try:
            write_cog(virtual, aside, overviews=overviews)
        except RasterioError as error:
            raise OutputError(
                f"{path} could not be written ({error}); free space there and run again."
            ) from error
