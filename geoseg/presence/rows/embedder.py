"""What looks at one image of a place at a time, and what it is shown."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import torch
from numpy.typing import NDArray

from geoseg.errors import SceneError
from geoseg.grids import gsd_m
from geoseg.views import View

if TYPE_CHECKING:
    import numpy as np

    from geoseg.models import Classifier, ClassifierSpec
    from geoseg.scenes import SceneReader

__all__ = ["Embedder", "chip_side_px", "weights_sha256"]

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
