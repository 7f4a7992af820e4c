"""Places with images of known pixels, and a project that asks for them."""

from __future__ import annotations

from datetime import UTC, datetime

import numpy as np
import torch

from geoseg.active.project import Drawn, create_project
from geoseg.chips import Chip, Place
from geoseg.labels import IGNORE
from geoseg.presence.packs import Given, find_places, make_pack
from geoseg.sensors import find_sensor

HEIGHT, WIDTH = 6, 9  # not square: a swapped axis is seen
HOSTILE = "<img src=x onerror=\"document.title='taken'\">/../../etc"


def chip(sensor_id, names, image, *, year=2020, valid=None, label=None, gsd_m=10.0):
    image = np.broadcast_to(np.asarray(image, np.float32), (len(names), HEIGHT, WIDTH)).copy()
    valid = np.ones((HEIGHT, WIDTH), bool) if valid is None else valid
    label = np.full((HEIGHT, WIDTH), IGNORE, np.uint8) if label is None else label
    image[:, ~valid] = 0
    return Chip(
        image=torch.from_numpy(image),
        valid=torch.from_numpy(valid),
        label=torch.from_numpy(label.astype(np.uint8)),
        palette=torch.zeros(len(names), 1),
        bands=tuple(find_sensor(sensor_id).band(name) for name in names),
        gsd_m=gsd_m,
        time=datetime(year, 7, 14, tzinfo=UTC),
        sensor_id=sensor_id,
    )


def place(*images, id_="a", lon=-135.25, lat=67.5):
    return Place(id=id_, lon=lon, lat=lat, images=images, present=None)


def some_places(count=5):
    """Two images each: Sentinel-2, with a mask on the later one, and their ids told apart."""
    rng = np.random.default_rng(1)
    label = np.zeros((HEIGHT, WIDTH), int)
    label[2:5, 3:7] = 1
    names = ("blue", "green", "red", "nir")
    return [
        place(
            chip("sentinel-2", names, rng.random((4, HEIGHT, WIDTH)), year=2017),
            chip("sentinel-2", names, rng.random((4, HEIGHT, WIDTH)), year=2021, label=label),
            id_=HOSTILE if number == 1 else f"place-{number}",
        )
        for number in range(count)
    ]


def pack_places(folder, places):
    """What reads them one by one from a pack in `folder`."""
    pack = make_pack(Given(pool=places, name="places"), folder).pack
    return find_places(pack, folder / "page")


def ask_for(folder, places, *, classes=("absent", "present"), rounds=1):
    """A project that asks for places in one round or more, by turns."""
    project = create_project(folder, classes=classes, pool="0")
    for number in range(rounds):
        drawn = [Drawn(one.id, "likely", 1.0, 0.875) for one in places[number::rounds]]
        project.record_round(drawn, strategy="mixture", settings={})
    return project
