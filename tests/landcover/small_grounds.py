"""Grounds of two classes that a year tells apart, without a simulated overpass."""

from __future__ import annotations

import numpy as np
import torch
from affine import Affine
from odc.geo.geobox import GeoBox

from geoseg.landcover.ground import LabelledGround

DAYS = tuple(19_358.0 + 30 * month for month in range(12))
VARIABLES = ("green", "red", "nir")
CLASSES = ("early", "late")


def small_ground(seed, *, shape=(12, 16), sd=0.02):
    """Stripes of 4 columns: green early or late in the year."""
    rng = np.random.default_rng(seed)
    land_cover = np.broadcast_to((np.arange(shape[1]) // 4 + seed) % 2, shape).astype(np.uint8)
    month = np.arange(12)[:, None, None]
    peak = np.where(land_cover == 0, 4, 8)
    leaves = np.exp(-0.5 * ((month - peak) / 1.5) ** 2)
    mean = np.stack([0.08 + 0 * leaves, 0.15 - 0.1 * leaves, 0.2 + 0.3 * leaves], axis=1)
    mean = mean + rng.normal(0, sd, mean.shape)
    tensor = torch.from_numpy(mean.astype(np.float32))
    return LabelledGround(
        grid=GeoBox(shape, Affine(10, 0, 500_000, 0, -10, 7_200_000), "EPSG:32633"),
        days=DAYS,
        variables=VARIABLES,
        mean=tensor,
        sd=torch.full_like(tensor, sd),
        validity=torch.full_like(tensor, 0.9),
        land_cover=land_cover,
    )
