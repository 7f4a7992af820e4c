"""Raster Vision: sliding windows, predictions of a learner, labels into a label store."""

from __future__ import annotations

from pathlib import Path

import torchvision_beside  # noqa: F401  before all that imports torchvision

# isort: split
import job
import torch
from rastervision.core.data import (
    ClassConfig,
    RasterioSource,
    Scene,
    SemanticSegmentationLabels,
    SemanticSegmentationLabelStore,
)
from rastervision.pytorch_learner import (
    SemanticSegmentationGeoDataConfig,
    SemanticSegmentationLearner,
    SemanticSegmentationLearnerConfig,
    SemanticSegmentationSlidingWindowGeoDataset,
    SolverConfig,
)

BATCH = 4


def rastervision(source: Path, target: Path, network: torch.nn.Module) -> None:
    """Windows in turn, then the whole map at once."""
    raster = RasterioSource(str(source), allow_streaming=True)
    windows = SemanticSegmentationSlidingWindowGeoDataset(
        Scene(id="scene", raster_source=raster),
        size=job.TILE_PX,
        stride=job.TILE_PX - job.OVERLAP_PX,
        normalize=False,
    )
    classes = ClassConfig(names=["ground", "glacier"], null_class="ground")
    learner = learner_of(network, classes, target.parent)
    found = learner.predict_dataset(
        windows, raw_out=False, numpy_out=True, dataloader_kw={"num_workers": 0}, progress_bar=False
    )
    labels = SemanticSegmentationLabels.from_predictions(
        windows.windows,
        found,
        extent=raster.extent,
        num_classes=len(classes),
        crop_sz=job.OVERLAP_PX // 2,
    )
    store = SemanticSegmentationLabelStore(
        uri=str(target.with_suffix("")),
        crs_transformer=raster.crs_transformer,
        class_config=classes,
        discrete_output=True,
    )
    store.save(labels)
    Path(store.label_uri).replace(target)


def learner_of(
    network: torch.nn.Module, classes: ClassConfig, folder: Path
) -> SemanticSegmentationLearner:
    """A learner that has nothing to learn."""
    config = SemanticSegmentationLearnerConfig(
        data=SemanticSegmentationGeoDataConfig(class_config=classes, img_channels=job.BANDS),
        solver=SolverConfig(batch_sz=BATCH),
    )
    return SemanticSegmentationLearner(
        cfg=config, model=network, output_dir=str(folder / "learner"), training=False
    )


if __name__ == "__main__":
    job.run(rastervision, job.pixelwise_of_stored())
