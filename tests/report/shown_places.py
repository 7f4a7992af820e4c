"""Simulated results and places whose truth is known, for the page of presence."""

from datetime import UTC, datetime

import numpy as np
import pandas as pd
import torch

from geoseg.chips import Chip, Place
from geoseg.sensors import find_sensor

BANDS = {
    "sentinel-2": ("blue", "green", "red", "nir"),
    "sentinel-1": ("vv", "vh"),
    "hexagon-kh9-mapping": (),
}


def rows_of(count, *, seed=0, prevalence=0.05, known=True):
    """Results of places of which the model is well calibrated, and what they hold."""
    rng = np.random.default_rng(seed)
    odds = rng.normal(np.log(prevalence / (1 - prevalence)) - 2, 2.2, count)
    probability = 1 / (1 + np.exp(-odds))
    present = rng.random(count) < probability
    rows = pd.DataFrame(
        {
            "chip_id": [f"sim-{seed}-{i:06d}" for i in range(count)],
            "lon": rng.uniform(129, 131, count),
            "lat": rng.uniform(69, 70, count),
            "probability": probability.astype(np.float32),
            "decision": probability >= 0.3,
            "n_images": np.full(count, 3, np.int32),
            "shard": 0,
        }
    )
    return rows.assign(present=present) if known else rows


def image_of(sensor_id, year, *, size=32, slump=True, seed=0):
    """An image of tundra with texture, a bare bowl in the middle where there is a slump."""
    rng = np.random.default_rng(seed)
    sensor = find_sensor(sensor_id)
    bands = tuple(sensor.band(name) for name in BANDS[sensor_id]) or sensor.bands[:1]
    rows, columns = np.mgrid[:size, :size] - (size - 1) / 2
    bowl = (np.hypot(rows, columns * 1.4) < size / 4) & slump
    ground = np.repeat(rng.normal(0, 1, (size // 4, size // 4)), 4, 0).repeat(4, 1)
    image = np.stack(
        [0.05 + 0.02 * i + 0.01 * ground + (0.09 - 0.02 * i) * bowl for i in range(len(bands))]
    )
    image = image + rng.normal(0, 0.004, image.shape)
    valid = np.ones((size, size), dtype=bool)
    valid[:, : size // 8] = year % 2 == 0
    return Chip(
        image=torch.from_numpy(np.where(valid, image, 0).astype(np.float32)),
        valid=torch.from_numpy(valid),
        label=torch.full((size, size), 255, dtype=torch.uint8),
        palette=torch.rand(len(bands), 8),
        bands=bands,
        gsd_m=10.0,
        time=datetime(year, 7, 12, tzinfo=UTC),
        sensor_id=sensor_id,
    )


def place_of(place_id, *, lon=130.1, lat=69.5, present=True, seed=0):
    """A place that three instruments saw, given newest first."""
    seen = (("sentinel-1", 2021), ("sentinel-2", 2019), ("hexagon-kh9-mapping", 1976))
    images = tuple(
        image_of(sensor, year, slump=bool(present) and year > 1980, seed=seed)
        for sensor, year in seen
    )
    return Place(id=place_id, lon=lon, lat=lat, images=images, present=present)
