"""Where in its images a place holds something: class activation maps.

The head of a classifier reads a cell of features as it reads a place, so that its evidence is a map
of logits on the scale of those of places (Zhou and others 2016, Learning deep features for
discriminative localization): from the logit at which a place is decided on, a pixel is.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from scipy.optimize import brentq
from scipy.special import logit

from geoseg.chips import stack_places
from geoseg.presence.scoring import in_image_order

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor

    from geoseg.chips import Place, PlaceBatch
    from geoseg.models import Classifier, Findings
    from geoseg.presence.scoring import Verdict

__all__ = ["activation_maps", "decision_level"]

_FURTHEST = 1e6  # logit; no network gives a larger one


def activation_maps(
    classifier: Classifier, places: Sequence[Place], batch: PlaceBatch | None = None
) -> tuple[list[list[NDArray[np.float32]]], NDArray[np.float64]]:
    """The evidence in each image of each place, pixel by pixel, and the logits (N,) of the places.

    Evidence is a logit (H, W), bilinear between the centres of its cells, NaN where the image is
    not valid. Cells without a valid pixel, by which no place is decided, take no part.

    Args:
        classifier: in evaluation mode; it computes where it lies.
        places: with the bands that it takes.
        batch: of these places, where they are stacked already.
    """
    device = next(classifier.parameters()).device
    stacked = (stack_places(places) if batch is None else batch).to(device)
    with torch.inference_mode():
        views = [images.view() for images in stacked.batches]
        said: Findings = classifier(views, stacked.owners, stacked.size)
        maps = [
            list(_at_pixels(classifier, evidence.float(), images.valid).cpu().numpy())
            for evidence, images in zip(said.evidence, stacked.batches, strict=True)
        ]
    return in_image_order(places, maps), said.places.double().cpu().numpy()


def decision_level(verdict: Verdict, sensor_id: str | None = None) -> float:
    """The logit from which on a place is said to hold it; infinite where all are, or none.

    Args:
        verdict: of the model.
        sensor_id: of a place all of whose images are of one sensor.
    """
    calibration = verdict.calibration
    wanted = float(logit(verdict.threshold))
    if calibration is None or math.isinf(wanted):
        return wanted
    ratio = wanted - float(logit(calibration.prior))

    def above(z: float) -> float:
        return float(calibration.log_ratio([z], [sensor_id])[0]) - ratio

    # A curve rises, but one of few places may hardly do so.
    if above(-_FURTHEST) >= 0:
        return -math.inf
    if above(_FURTHEST) < 0:
        return math.inf
    return float(brentq(above, -_FURTHEST, _FURTHEST, xtol=1e-9))


def _at_pixels(classifier: Classifier, evidence: Tensor, valid: Tensor) -> Tensor:
    """Evidence (n, h, w) of cells at the pixels of their images (n, H, W), NaN where not valid."""
    rows, columns = valid.shape[-2:]
    # The last cells may reach beyond the image.
    whole = classifier.whole_cells(valid.float())[:, None]
    height, width = evidence.shape[-2:]
    seen = F.adaptive_avg_pool2d(whole, (height, width)) > 0
    known = torch.where(seen, evidence[:, None], 0)
    total, weight = (
        F.interpolate(cells, whole.shape[-2:], mode="bilinear")[:, 0, :rows, :columns]
        for cells in (known, seen.float())
    )
    return torch.where(valid, total / weight, torch.nan)
