"""Places that are told apart at a glance: a bright square in the middle, or none."""

from datetime import UTC, datetime

import numpy as np
import torch

from geoseg.chips import Chip, Place
from geoseg.config import PresenceRecipe
from geoseg.models import AnyInput, ClassifierSpec, build_classifier
from geoseg.sensors import find_sensor
from geoseg.training import PlaceSamples

S2 = find_sensor("sentinel-2").bands[1:4]
PAN = find_sensor("hexagon-kh9-mapping").bands
SIZE_PX = 32
RECORD = {"training_hash": "t", "data_hash": "d"}
CPU = torch.device("cpu")


def drawn_chip(present, bands, rng, *, year=2020):
    """Noise about 100, with a square 60 brighter where there is something, marked as 1."""
    mask = np.zeros((SIZE_PX, SIZE_PX), dtype=np.uint8)
    top, left = rng.integers(2, SIZE_PX - 16, 2)
    mask[top : top + 14, left : left + 14] = present
    image = 100 + rng.normal(0, 10, (len(bands), SIZE_PX, SIZE_PX)) + 60 * mask
    palette = 100 + rng.normal(0, 20, (len(bands), 64))
    return Chip(
        image=torch.from_numpy(image.astype(np.float32)),
        valid=torch.ones(SIZE_PX, SIZE_PX, dtype=torch.bool),
        label=torch.from_numpy(mask),
        palette=torch.from_numpy(palette.astype(np.float32)),
        bands=bands,
        gsd_m=10.0,
        time=datetime(year, 7, 1, tzinfo=UTC),
        sensor_id="any",
    )


def drawn_places(count, *, share=0.3, seed=0):
    """Places of one or two images of two sensors; a place of `present` by its number."""
    rng = np.random.default_rng(seed)
    places = []
    for number in range(count):
        present = number < round(share * count)
        kinds = [(S2,), (PAN,), (S2, PAN)][number % 3]
        images = tuple(
            drawn_chip(present, bands, rng, year=2000 + i) for i, bands in enumerate(kinds)
        )
        places.append(Place(id=f"p{number}", lon=0.0, lat=70.0, images=images, present=present))
    return places


def samples_of(places, labels=None):
    known = [place.present for place in places] if labels is None else labels
    return PlaceSamples(places=places, present=np.array(known, dtype=np.float32))


def recipe_of(*, few_labels=None, seed=0, **learning):
    defaults = {"steps": 40, "batch": 16, "warmup_steps": 5, "averaging": 0.8}
    return PresenceRecipe(seed=seed, learning={**defaults, **learning}, few_labels=few_labels or {})


def fresh_classifier(seed=0, stride=16):
    torch.manual_seed(seed)
    return build_classifier(
        ClassifierSpec(
            encoder="test_resnet",
            input=AnyInput(seen=(*S2, *PAN), gsd_m=(10.0, 10.0)),
            target="thaw_slump",
            size_px=SIZE_PX,
            output_stride=stride,
            width=32,
        )
    )
