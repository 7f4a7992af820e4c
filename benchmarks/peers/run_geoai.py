"""geoai: predict_geotiff with its default blending of tiles."""

from __future__ import annotations

from pathlib import Path

import torchvision_beside  # noqa: F401  before all that imports torchvision

# isort: split
import job
import numpy as np
import torch
from geoai.inference import predict_geotiff


def geoai(source: Path, target: Path, network: torch.nn.Module) -> None:
    """The whole scene in one call."""
    predict_geotiff(
        network,
        str(source),
        str(target),
        tile_size=job.TILE_PX,
        overlap=job.OVERLAP_PX,
        num_classes=job.CLASSES,
        output_dtype="uint8",
        output_nodata=255,
        preprocess_fn=lambda image: image,
        postprocess_fn=lambda logits: logits.argmax(axis=0).astype(np.uint8),
        device="cpu",
        compress="deflate",
        verbose=False,
    )


if __name__ == "__main__":
    job.run(geoai, job.pixelwise_of_stored())
