"""Fields of the World: `ftw inference run`, with another network in place of its checkpoint."""

from __future__ import annotations

from pathlib import Path
from unittest import mock

import torchvision_beside  # noqa: F401  before all that imports torchvision

# isort: split
import job
import torch
from ftw.trainers import CustomSemanticSegmentationTask
from ftw_cli import inference

BATCH = 2  # the default of its command
DIVIDED_BY = 3000  # by its preprocessing


class Task:
    """What is used of a checkpoint."""

    def __init__(self, network: torch.nn.Module) -> None:
        self.model = network

    def freeze(self) -> None:
        """Nothing is trained here."""


def ftw(source: Path, target: Path, network: torch.nn.Module) -> None:
    """The command but its reading of a checkpoint; its six reading processes are its own choice."""
    checkpoint = target.with_suffix(".ckpt")
    checkpoint.touch()
    load = mock.patch.object(
        CustomSemanticSegmentationTask, "load_from_checkpoint", return_value=Task(network)
    )
    with load:
        inference.run(
            input=str(source),
            model=str(checkpoint),
            out=str(target),
            resize_factor=1,
            gpu=None,
            patch_size=job.TILE_PX,
            batch_size=BATCH,
            padding=job.OVERLAP_PX // 2,
            overwrite=True,
            mps_mode=False,
        )


if __name__ == "__main__":
    job.run(ftw, job.pixelwise_of_stored(divided_by=DIVIDED_BY))
