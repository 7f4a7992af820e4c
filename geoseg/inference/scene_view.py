"""What a network is shown of a scene."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, NamedTuple

import torch

from geoseg.grids import gsd_m
from geoseg.models import AnyInput
from geoseg.scenes import band_names, bands_of, open_scene, scene_sample
from geoseg.views import View, band_table

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor

    from geoseg.models import FixedInput
    from geoseg.scenes import Scene, SceneReader

__all__ = ["SceneView", "open_input"]


class SceneView(NamedTuple):
    """What is the same in every view of a scene."""

    palette: Tensor
    gsd_m: Tensor
    bands: Tensor

    @classmethod
    def of(
        cls, reader: SceneReader, taken: AnyInput | FixedInput, device: torch.device
    ) -> SceneView:
        """What a scene has of it, for a network that takes such input."""
        bands = band_table(bands_of(reader.scene, reader.bands))
        if isinstance(taken, AnyInput):
            palette = torch.from_numpy(scene_sample(reader))
        else:
            # Standardised by the training: nothing of the scene has to be read for it.
            palette = torch.full((len(bands), 1), torch.nan)
        size = torch.tensor([gsd_m(reader.grid)], dtype=torch.float32)
        return cls(*(part.to(device) for part in (palette[None], size, bands)))

    def show(self, images: NDArray[np.float32], valid: NDArray[np.bool_]) -> View:
        """The view of some parts of the scene (N, C, H, W), valid or not (N, H, W)."""
        device, count = self.palette.device, len(images)
        return View(
            image=_sent(images, device),
            valid=_sent(valid, device),
            palette=self.palette.expand(count, -1, -1),
            gsd_m=self.gsd_m.expand(count),
            bands=self.bands,
        )


@contextmanager
def open_input(
    taken: AnyInput | FixedInput, scene: Scene, wanted_m: float | None = None
) -> Iterator[SceneReader]:
    """A reader of what a network takes of a scene; finer pixels are averaged, by whole numbers.

    Args:
        taken: by the network.
        scene: to read.
        wanted_m: pixel size, about; the finest that the network was taught on when None.

    Raises:
        SceneError: the scene lacks a band of the network, or a file cannot be opened.
        GridError: the bands do not lie on the same ground.
    """
    if isinstance(taken, AnyInput):
        names, wanted_m = band_names(scene), wanted_m or taken.gsd_m[0]
    else:
        names = taken.bands
    with open_scene(scene, names) as reader:
        coarser = 1 if wanted_m is None else max(1, round(wanted_m / gsd_m(reader.grid)))
        if coarser == 1:
            yield reader
            return
    with open_scene(scene, names, coarser=coarser) as reader:
        yield reader


def _sent(array: NDArray[np.generic], device: torch.device) -> Tensor:
    tensor = torch.from_numpy(array)
    if device.type != "cuda":
        return tensor.to(device)
    return tensor.pin_memory().to(device, non_blocking=True)
