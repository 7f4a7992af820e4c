"""All that decides the bytes of the maps of a scene."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import torch

from geoseg import __version__
from geoseg.errors import SceneError
from geoseg.map_origin import origin_tags
from geoseg.scenes import open_raster

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from geoseg.config import InferenceSettings
    from geoseg.inference.maps import Prediction
    from geoseg.inference.tiles import TileGrid
    from geoseg.models import Segmenter
    from geoseg.scenes import Scene

__all__ = ["JOB_TAG", "digest_of_job", "is_done", "state_of"]

JOB_TAG = "job"  # of all maps


def digest_of_job(
    networks: Sequence[Segmenter],
    scene: Scene,
    settings: InferenceSettings,
    device: torch.device,
    tags: Mapping[str, str],
    grid: TileGrid,
    readers: int,
) -> str:
    """SHA-256 of all that decides the bytes of the maps, which carry it."""
    job = {
        "geoseg": __version__,
        "torch": torch.__version__,
        "threads": torch.get_num_threads(),
        "device": str(device),
        "networks": [_digest(network) for network in networks],
        "scene": state_of(scene),
        "settings": settings.model_dump(mode="json"),
        "tiles": asdict(grid),
        "readers": readers,
        "tags": dict(tags),
    }
    return hashlib.sha256(json.dumps(job, sort_keys=True).encode()).hexdigest()


def is_done(prediction: Prediction, digest: str) -> bool:
    """Whether all maps are there and of this job: one that does not open is none."""
    for path in prediction.paths:
        if not path.is_file():
            return False
        try:
            with open_raster(path) as raster:
                if raster.tags().get(JOB_TAG) != digest:
                    return False
        except SceneError:
            return False
    return True


def _digest(network: Segmenter) -> str:
    """SHA-256 of what a network is and of its weights."""
    digest = hashlib.sha256(repr((network.spec, network)).encode())
    for name, tensor in network.state_dict().items():
        digest.update(name.encode())
        digest.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy())
    return digest.hexdigest()


def state_of(scene: Scene) -> dict[str, Any]:
    """What of a scene decides its pixels, and the state of its files.

    By size and time: to read all files would take long.
    """
    mask = {} if scene.mask is None else {"mask": scene.mask}
    bands = {**scene.bands, **mask}
    files = {asset.path.resolve() for asset in bands.values()}
    if scene.dem is not None:
        files.add(scene.dem.resolve())
    return {
        "origin": origin_tags(scene),
        "bands": [[n, str(a.path.resolve()), a.index, a.nodata] for n, a in bands.items()],
        "dem": None if scene.dem is None else str(scene.dem.resolve()),
        "files": [_state(path) for path in sorted(files)],
    }


def _state(path: Path) -> tuple[str, int, int]:
    try:
        found = path.stat()
    except OSError as error:
        raise SceneError(f"{path} cannot be read ({error.strerror}); fetch it again.") from error
    return (str(path), found.st_size, found.st_mtime_ns)
