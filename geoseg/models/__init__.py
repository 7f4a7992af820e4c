"""Networks and losses."""

from geoseg.models.adopt import adopt_network
from geoseg.models.checkpoint import (
    Checkpoint,
    load_checkpoint,
    read_tensors,
    save_checkpoint,
    shared_checkpoints,
    write_tensors,
)
from geoseg.models.classifier import (
    Classifier,
    ClassifierCheckpoint,
    ClassifierSpec,
    Findings,
    build_classifier,
    load_classifier,
    require_timm_encoder,
    save_classifier,
)
from geoseg.models.device import choose_device
from geoseg.models.imbalance import (
    CLASSIFICATION_LOSSES,
    MULTILABEL_LOSSES,
    adjust_logits,
    adjust_multilabel_logits,
    classification_loss,
    multilabel_loss,
)
from geoseg.models.imbalance_maps import SEGMENTATION_LOSSES, assumed_shares, segmentation_loss
from geoseg.models.losses import dice_cross_entropy
from geoseg.models.network import (
    AnyInput,
    FixedInput,
    ModelSpec,
    Segmenter,
    build_segmenter,
    find_encoder,
)
from geoseg.models.presence_losses import evidence_loss, non_negative_pu_loss, presence_loss
from geoseg.models.reach import extrapolation
from geoseg.models.torchvision import TorchPair, inspect_pair
from geoseg.models.tuning import Tuning, tune, warning_of

__all__ = [
    "CLASSIFICATION_LOSSES",
    "MULTILABEL_LOSSES",
    "SEGMENTATION_LOSSES",
    "AnyInput",
    "Checkpoint",
    "Classifier",
    "ClassifierCheckpoint",
    "ClassifierSpec",
    "Findings",
    "FixedInput",
    "ModelSpec",
    "Segmenter",
    "TorchPair",
    "Tuning",
    "adjust_logits",
    "adjust_multilabel_logits",
    "adopt_network",
    "assumed_shares",
    "build_classifier",
    "build_segmenter",
    "choose_device",
    "classification_loss",
    "dice_cross_entropy",
    "evidence_loss",
    "extrapolation",
    "find_encoder",
    "inspect_pair",
    "load_checkpoint",
    "load_classifier",
    "multilabel_loss",
    "non_negative_pu_loss",
    "presence_loss",
    "read_tensors",
    "require_timm_encoder",
    "save_checkpoint",
    "save_classifier",
    "segmentation_loss",
    "shared_checkpoints",
    "tune",
    "warning_of",
    "write_tensors",
]
