"""What looks at one image of a place at a time, and what it is shown."""

from __future__ import annotations

import hashlib
from contextlib import contextmanager
from typing import TYPE_CHECKING, NamedTuple

import torch
from numpy.typing import NDArray

from geoseg.errors import SceneError
from geoseg.grids import gsd_m
from geoseg.models import AnyInput
from geoseg.scenes import band_names, bands_of, open_scene, scene_sample
from geoseg.views import View, band_table

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy as np
    from torch import Tensor

    from geoseg.models import Classifier, ClassifierSpec
    from geoseg.scenes import Scene, SceneReader

__all__ = ["Embedder", "SceneInput", "chip_side_px", "weights_sha256"]

# What makes a logit of an embedding, and what weighs embeddings; all else makes them.
_HEAD, _DATES = "head.", "dates."
_SMALLEST_PX = 8  # side of a chip: less shows nothing


class Embedder:
    """The part of a classifier that looks at one image at a time, on a device."""

    def __init__(self, classifier: Classifier, device: torch.device) -> None:
        self.spec: ClassifierSpec = classifier.spec
        self.device = device
        self._classifier = classifier.to(device).eval()

    @torch.inference_mode()
    def __call__(self, view: View) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Embeddings (n, D) and logits (n,) of images."""
        found = self._classifier([view])
        return found.embeddings[0].cpu().numpy(), found.places.cpu().numpy()

    @contextmanager
    def open(self, scene: Scene) -> Iterator[SceneReader]:
        """A reader of what the network takes of a scene; pixels finer than any it saw are averaged.

        Raises:
            SceneError: a band is missing, or a file cannot be opened.
        """
        wanted = self.spec.input
        names = band_names(scene) if isinstance(wanted, AnyInput) else wanted.bands
        with open_scene(scene, names) as reader:
            finest = wanted.gsd_m[0] if isinstance(wanted, AnyInput) else gsd_m(reader.grid)
            coarser = max(1, round(finest / gsd_m(reader.grid)))
            if coarser == 1:
                yield reader
                return
        with open_scene(scene, names, coarser=coarser) as reader:
            yield reader


class SceneInput(NamedTuple):
    """What is the same in every view of a scene."""

    palette: Tensor
    gsd_m: Tensor
    bands: Tensor

    @classmethod
    def of(cls, reader: SceneReader, embedder: Embedder) -> SceneInput:
        """What a scene has of it."""
        bands = band_table(bands_of(reader.scene, reader.bands))
        if isinstance(embedder.spec.input, AnyInput):
            palette = torch.from_numpy(scene_sample(reader))
        else:
            # Standardised by the training: nothing of the scene has to be read for it.
            palette = torch.full((len(bands), 1), torch.nan)
        size = torch.tensor([gsd_m(reader.grid)], dtype=torch.float32)
        return cls(*(part.to(embedder.device) for part in (palette[None], size, bands)))

    def show(self, images: NDArray[np.float32], valid: NDArray[np.bool_]) -> View:
        """The view of some chips (n, C, h, w), valid or not (n, h, w)."""
        count, device = len(images), self.bands.device
        return View(
            image=torch.from_numpy(images).to(device),
            valid=torch.from_numpy(valid).to(device),
            palette=self.palette.expand(count, -1, -1),
            gsd_m=self.gsd_m.expand(count),
            bands=self.bands,
        )


def weights_sha256(classifier: Classifier) -> tuple[str, str]:
    """SHA-256 of the weights that make embeddings, and of those that make logits of them.

    Neither changes when a model is calibrated or its attention over dates is trained further.
    """
    embedder = hashlib.sha256(repr(classifier.spec).encode())
    head = hashlib.sha256()
    for name, tensor in classifier.state_dict().items():
        if name.startswith(_DATES):
            continue
        digest = head if name.startswith(_HEAD) else embedder
        digest.update(name.encode())
        digest.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy())
    return embedder.hexdigest(), head.hexdigest()


def chip_side_px(reader: SceneReader, chip_m: float) -> int:
    """The side of a chip of so many metres on the grid of a scene.

    Raises:
        SceneError: it is too small to show anything.
    """
    side = round(chip_m / gsd_m(reader.grid))
    if side < _SMALLEST_PX:
        raise SceneError(
            f"A chip of {chip_m:g} m is {side} px in scene {reader.scene.id}; give --chip-m of at "
            f"least {_SMALLEST_PX * gsd_m(reader.grid):g} m, or leave the scene out."
        )
    return side
