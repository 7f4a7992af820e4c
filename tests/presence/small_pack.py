"""A small pack of places, and a network that looks at them."""

import io
from datetime import UTC, datetime

import numpy as np
import torch
from PIL import Image

from geoseg.models import FixedInput
from geoseg.models.classifier import ClassifierSpec, build_classifier, save_classifier
from geoseg.presence.packs import ImageKind, Shards, make_pack
from geoseg.presence.packs.stored import StoredImage, StoredPlace
from geoseg.presence.packs.tars import TarWriter

DAY = datetime(2020, 7, 1, tzinfo=UTC)
BANDS = ("red", "green", "blue")
RGB = ImageKind(sensor_id="sentinel-2", bands=BANDS, gsd_m=10.0, nodata=0.0)
SPOT = ImageKind(sensor_id="spot-5", bands=("green", "red", "nir"), gsd_m=10.0)


def image(seed, kind=RGB, *, shape=(16, 24), time=DAY, empty=False):
    pixels = np.random.default_rng(seed).integers(1, 255, (*shape, 3), dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels * (not empty)).save(file, "PNG")
    return StoredImage(pixels=file.getvalue(), suffix="png", kind=kind, time=time)


def place(name, *images, present=None, lon=10.0, lat=60.0):
    return StoredPlace(id=name, lon=lon, lat=lat, present=present, images=images)


def varied(number):
    """A place of one of four shapes: small, large, of two dates, or of nothing valid."""
    later = DAY.replace(year=2022)
    images = [
        (image(number),),
        (image(number, shape=(32, 16)),),
        (image(number, shape=(32, 16)), image(number + 500, time=later)),
        (image(number, empty=True),),
    ][number % 4]
    present = True if number % 4 == 0 else None
    return place(f"p{number}", *images, present=present, lon=10 + number / 100)


def varied_shards(count, places):
    """So many shards of so many places."""
    return [[varied(places * n + k) for k in range(places)] for n in range(count)]


def make_small_pack(folder, shards):
    """A pack of shards that hold these places."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for number, places in enumerate(shards):
        paths.append(folder / f"s{number}.tar")
        writer = TarWriter(paths[-1])
        for one in places:
            writer.add(one)
        writer.close()
    return make_pack(Shards(paths=paths, foreign=None), folder / "pack").pack


def make_small_model(path, *, seed=0):
    torch.manual_seed(seed)
    given = FixedInput(bands=BANDS, mean=(100.0,) * 3, std=(50.0,) * 3)
    spec = ClassifierSpec(
        encoder="test_resnet", input=given, target="thaw_slump", size_px=16, width=16
    )
    classifier = build_classifier(spec)
    with torch.no_grad():
        # As after a training: places differ, and images of one in how much they count.
        classifier.neck[0].weight *= 30
        classifier.dates.weigh.weight.normal_(0, 3)
        classifier.head.weight.normal_(0, 3)
    save_classifier(path, classifier, {})
    return path
