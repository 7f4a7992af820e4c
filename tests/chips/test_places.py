"""Places: images of any sensors and dates that belong together."""

from collections import Counter
from datetime import UTC, datetime

import pytest
import torch

from geoseg.chips import Chip, Place, drop_images, stack_places
from geoseg.labels import IGNORE
from geoseg.sensors import find_sensor

S2 = find_sensor("sentinel-2").bands[1:4]
PAN = find_sensor("hexagon-kh9-mapping").bands


def chip(value, bands=S2, shape=(8, 12), year=2020):
    """An image that holds its own number everywhere."""
    return Chip(
        image=torch.full((len(bands), *shape), float(value)),
        valid=torch.ones(shape, dtype=torch.bool),
        label=torch.full(shape, IGNORE, dtype=torch.uint8),
        palette=torch.full((len(bands), 4), float(value)),
        bands=bands,
        gsd_m=10.0,
        time=datetime(year, 7, 2, 12, tzinfo=UTC),
        sensor_id="any",
    )


def place(number, *images, present=None):
    return Place(id=f"p{number}", lon=0.0, lat=70.0, images=images, present=present)


def shown(batch):
    """Which images each place has, by their values."""
    found = {}
    for images, owners in zip(batch.batches, batch.owners, strict=True):
        for image, owner in zip(images.image, owners, strict=True):
            found.setdefault(int(owner), []).append(float(image[0, 0, 0]))
    return {owner: sorted(values) for owner, values in found.items()}


def test_images_of_one_set_of_bands_and_shape_are_one_batch_and_keep_their_owner():
    places = [
        place(0, chip(1), chip(2, PAN), present=True),
        place(1, chip(3, shape=(12, 8)), present=False),
        place(2, chip(4), chip(5), chip(6, PAN)),
    ]

    batch = stack_places(places)

    assert batch.size == 3
    assert sorted(tuple(b.image.shape) for b in batch.batches) == [
        (1, 3, 12, 8),
        (2, 1, 8, 12),
        (3, 3, 8, 12),
    ]
    assert shown(batch) == {0: [1, 2], 1: [3], 2: [4, 5, 6]}


def test_a_label_that_nobody_gave_is_neither_present_nor_absent():
    batch = stack_places([place(n, chip(n), present=p) for n, p in enumerate((True, False, None))])

    assert batch.present[:2].tolist() == [1, 0]
    assert batch.present[2].isnan()


def test_the_year_of_an_image_goes_with_it():
    batch = stack_places([place(0, chip(1, year=2000), chip(2, PAN, year=1975))])

    years = {
        float(b.image[0, 0, 0, 0]): float(y)
        for b, y in zip(batch.batches, batch.years, strict=True)
    }
    assert years == pytest.approx({1: 2000.5, 2: 1975.5}, abs=0.01)


def test_a_place_without_an_image_is_refused_by_its_name():
    with pytest.raises(ValueError, match="place p7 has no image"):
        stack_places([place(7)])


@pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
def test_of_the_images_of_a_place_a_share_goes_and_one_always_stays(share):
    torch.manual_seed(0)
    places = [
        place(n, *(chip(10 * n + i, (S2, PAN)[i % 2], year=1990 + i) for i in range(8)))
        for n in range(300)
    ]
    batch = stack_places(places)

    kept = drop_images(batch, share=share)

    left = shown(kept)
    count = sum(map(len, left.values()))
    assert sorted(left) == list(range(300))
    assert kept.size == 300
    # Of eight images 8 (1 - share) stay, or one where all would go.
    expected = {0.0: 2400, 0.3: 2400 * 0.7, 1.0: 300}[share]
    assert abs(count - expected) < 4 * (2400 * 0.25) ** 0.5
    assert share not in (0.0, 1.0) or count == expected
    # What stays is of its own place, with its own year.
    assert all(value // 10 == owner for owner, values in left.items() for value in values)
    for images, years in zip(kept.batches, kept.years, strict=True):
        assert torch.equal(images.image[:, 0, 0, 0] % 10, (years - 1990).floor().float())


def test_every_image_of_a_place_may_be_the_one_that_stays():
    torch.manual_seed(0)
    batch = stack_places([place(0, *(chip(i, (S2, PAN)[i % 2]) for i in range(4)))])

    alone = Counter(shown(drop_images(batch, share=1.0))[0][0] for _ in range(200))

    assert sorted(alone) == [0, 1, 2, 3]
    assert min(alone.values()) > 25
