"""Networks and losses."""

from geoseg.models.checkpoint import (
    Checkpoint,
    load_checkpoint,
    read_tensors,
    save_checkpoint,
    write_tensors,
)
from geoseg.models.device import choose_device
from geoseg.models.losses import dice_cross_entropy
from geoseg.models.network import ModelSpec, Segmenter, build_segmenter
from geoseg.models.torchvision import TorchPair, inspect_pair

__all__ = [
    "Checkpoint",
    "ModelSpec",
    "Segmenter",
    "TorchPair",
    "build_segmenter",
    "choose_device",
    "dice_cross_entropy",
    "inspect_pair",
    "load_checkpoint",
    "read_tensors",
    "save_checkpoint",
    "write_tensors",
]
