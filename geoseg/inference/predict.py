"""A whole scene through a network, in memory that does not grow with its height."""

from __future__ import annotations

from contextlib import contextmanager
from itertools import product
from typing import TYPE_CHECKING, NamedTuple, Protocol

import numpy as np
import torch

from geoseg.grids import gsd_m
from geoseg.inference.prevalence import prevalence_ratio, ratio_at
from geoseg.inference.tiles import blend_weights, tile_rows
from geoseg.inference.writer import open_maps
from geoseg.models import AnyInput
from geoseg.scenes import band_names, bands_of, open_scene, scene_sample
from geoseg.views import View, band_table, turned

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from numpy.typing import NDArray
    from torch import Tensor

    from geoseg.config import InferenceSettings
    from geoseg.inference.maps import Prediction
    from geoseg.models import ModelSpec, Segmenter
    from geoseg.scenes import Scene, SceneReader

__all__ = ["open_input", "predict_scene", "probabilities"]

_SAMPLE_SIDE = 160  # pixels a side from which prevalence is estimated


class OnTile(Protocol):
    """Is told of every tile."""

    def __call__(self, done: int, total: int, /) -> None:
        """Take the number of tiles done and of all tiles."""


def predict_scene(
    segmenter: Segmenter,
    scene: Scene,
    settings: InferenceSettings,
    *,
    prediction: Prediction,
    device: torch.device,
    tags: Mapping[str, str],
    on_tile: OnTile,
) -> Prediction:
    """Map a scene.

    A network for any bands is shown all that the scene has; one for fixed bands those it knows.

    Args:
        segmenter: the trained network; moved to the device.
        scene: of any sensor.
        settings: pixel of the map, tiles and test-time augmentation.
        prediction: where the maps go; returned.
        device: in half precision on a GPU.
        tags: provenance for the metadata of both maps.
        on_tile: is told of every tile.

    Raises:
        SceneError: the scene lacks a band of the network, or a file cannot be read.
        OutputError: the maps cannot be written.
    """
    network = segmenter.to(device).eval()
    spec = network.spec
    with (
        open_input(spec, scene, settings) as reader,
        open_maps(prediction, reader.grid, spec.scheme, tags) as maps,
    ):
        step_px = max(1, -(-max(reader.grid.shape) // _SAMPLE_SIDE))
        sample = []
        for top, chance, valid in _finished_rows(network, reader, settings, device, on_tile):
            maps.write_raw(top, chance, valid)
            first = -(top - step_px // 2) % step_px
            sample.append(
                np.where(valid, chance, np.nan)[:, first::step_px, step_px // 2 :: step_px]
            )
        reach_px = settings.prevalence_reach_m / gsd_m(reader.grid) / step_px
        ratio = np.ones((len(spec.prior), 1, 1), dtype=np.float32)
        if reach_px > 0:
            sampled = np.concatenate(sample, axis=1)
            ratio = prevalence_ratio(sampled, spec.prior, reach_px=reach_px)
        maps.finish(lambda rows, width: ratio_at(ratio, step_px=step_px, rows=rows, width=width))
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


@torch.inference_mode()
def probabilities(network: Segmenter, view: View, *, flips: bool) -> Tensor:
    """Class probabilities (N, K, H, W) of square images.

    With `flips` the mean over the eight rotations and mirror images.
    """
    positions = product(range(4), (False, True)) if flips else [(0, False)]
    chances = [_seen_from(network, view, turns, mirrored=m) for turns, m in positions]
    return torch.stack(chances).mean(dim=0)


def _seen_from(network: Segmenter, view: View, turns: int, *, mirrored: bool) -> Tensor:
    """Probabilities from a turned and mirrored image, in the original position."""
    valid = view.valid.rot90(turns, (-2, -1))
    image = turned(view.image, view.bands, turns, mirrored=mirrored)
    seen = view._replace(image=image, valid=valid.flip(-1) if mirrored else valid)
    chance: Tensor = network(seen).softmax(dim=1)
    if mirrored:
        chance = chance.flip(-1)
    return chance.rot90(-turns, (-2, -1))


def _finished_rows(
    network: Segmenter,
    reader: SceneReader,
    settings: InferenceSettings,
    device: torch.device,
    on_tile: OnTile,
) -> Iterator[tuple[int, NDArray[np.float32], NDArray[np.bool_]]]:
    """First row, probabilities (K, h, W) and validity (h, W) of each strip that no tile touches.

    One row of tiles is held at a time; its lower overlap is carried into the next.
    """
    height, width = reader.grid.shape
    size, halo = settings.tile_px, settings.halo_px
    step = size - 2 * halo
    weights = blend_weights(size=size, halo=halo)
    rows = list(tile_rows((height, width), size=size, halo=halo))
    total, done = sum(map(len, rows)), 0
    scene = _SceneView.of(reader, device)
    classes = len(network.spec.scheme.classes)
    # Columns from -halo to beyond the last tile, so that no tile has to be cut.
    span = (len(rows[0]) - 1) * step + size
    band = np.zeros((classes, size, span), dtype=np.float32)
    known = np.zeros((size, span), dtype=bool)
    for row in rows:
        for tile in row:
            image, valid = reader.read(tile)
            place = slice(tile.col_off + halo, tile.col_off + halo + size)
            known[:, place] |= valid
            # A tile without data never reaches the network.
            if valid.any():
                chance = _tile(network, scene.show(image, valid), flips=settings.flips)
                band[:, :, place] += chance * weights
            done += 1
            on_tile(done, total)
        top = row[0].row_off
        first, last = max(top, 0), min(top + step, height)
        if row is rows[-1]:
            last = height
        finished = (slice(first - top, last - top), slice(halo, halo + width))
        strip = band[:, *finished]
        strip = strip / np.maximum(strip.sum(axis=0), np.finfo(np.float32).tiny)
        yield first, strip, known[finished].copy()
        band[:, : 2 * halo] = band[:, step:]
        band[:, 2 * halo :] = 0
        known[: 2 * halo] = known[step:]
        known[2 * halo :] = False


def _tile(network: Segmenter, view: View, *, flips: bool) -> NDArray[np.float32]:
    device = view.image.device
    with torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda"):
        chance = probabilities(network, view, flips=flips)
    return chance[0].float().cpu().numpy()


class _SceneView(NamedTuple):
    """What is the same in every view of a scene."""

    palette: Tensor
    gsd_m: Tensor
    bands: Tensor

    @classmethod
    def of(cls, reader: SceneReader, device: torch.device) -> _SceneView:
        """What a scene has of it."""
        return cls(
            torch.from_numpy(scene_sample(reader))[None].to(device),
            torch.tensor([gsd_m(reader.grid)], dtype=torch.float32, device=device),
            band_table(bands_of(reader.scene, reader.bands)).to(device),
        )

    def show(self, image: NDArray[np.float32], valid: NDArray[np.bool_]) -> View:
        """The view of a window: image (C, H, W), valid (H, W)."""
        device = self.palette.device
        return View(
            image=torch.from_numpy(image)[None].to(device),
            valid=torch.from_numpy(valid)[None].to(device),
            palette=self.palette,
            gsd_m=self.gsd_m,
            bands=self.bands,
        )
