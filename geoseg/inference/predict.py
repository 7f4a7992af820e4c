"""A whole scene through networks, to be stopped at any moment and gone on with."""

from __future__ import annotations

import os
from contextlib import ExitStack, closing
from typing import TYPE_CHECKING

import rasterio
import torch

from geoseg.files import checksums_beside, sweep, write_checksums
from geoseg.inference.chance import Mapper
from geoseg.inference.finish import corrected_parts, write_maps
from geoseg.inference.job import JOB_TAG, digest_of_job, is_done
from geoseg.inference.layers import Layers
from geoseg.inference.parts import Parts, open_parts, remove_parts
from geoseg.inference.plan import cache_bytes, plan_tiles
from geoseg.inference.scene_view import open_input
from geoseg.inference.stream import Done, strips
from geoseg.map_origin import origin_tags
from geoseg.models import Segmenter

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from geoseg.config import InferenceSettings
    from geoseg.inference.maps import Prediction
    from geoseg.inference.stream import OnTile
    from geoseg.inference.tiles import TileGrid
    from geoseg.scenes import Scene

__all__ = ["predict_scene"]

_GDAL = {
    # Blocks are decoded by all cores at once: one that is busy holds up the network on the others.
    "GDAL_NUM_THREADS": "ALL_CPUS",
    # Strips are read one after the other; each one that is kept open takes memory.
    "GDAL_MAX_DATASET_POOL_SIZE": 4,
}


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
        first = stack.enter_context(open_input(spec.input, scene, settings.gsd_m))
        grid = plan_tiles(first.grid, settings)
        readers = [first]
        for _ in range(_reader_count(device, grid) - 1):
            readers.append(stack.enter_context(open_input(spec.input, scene, settings.gsd_m)))
        job = digest_of_job(networks, scene, settings, device, tags, grid, len(readers))
        working = prediction.classes.with_name(f".{prediction.classes.name}.unfinished")
        if is_done(prediction, job):
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
                parts = corrected_parts(parts, first.grid, layers, spec, settings)
            said = {**tags, **origin_tags(scene), JOB_TAG: job}
            write_maps(parts, prediction, layers, spec, said)
    return prediction


def _reader_count(device: torch.device, grid: TileGrid) -> int:
    """Threads that read: beside a network on the CPU one keeps up, a GPU waits for several."""
    wanted = 1 if device.type == "cpu" else max(1, min(8, (os.cpu_count() or 1) - 1))
    return min(wanted, len(grid.columns.starts))
