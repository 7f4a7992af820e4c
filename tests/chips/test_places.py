"""Places: images of any sensors and dates that belong together."""

from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime

import pytest
import torch

from geoseg.chips import Chip, Place, drop_images, flip_randomly, stack_places
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


def hidden(image):
    """An image of which a cloud left nothing."""
    return replace(image, valid=torch.zeros_like(image.valid))


def test_a_place_is_seen_where_any_image_has_a_valid_pixel():
    one_pixel = hidden(chip(1))
    one_pixel.valid[3, 5] = True
    batch = stack_places(
        [
            place(0, chip(1), hidden(chip(2, PAN))),
            place(1, hidden(chip(3)), hidden(chip(4, PAN))),
            place(2, one_pixel),
        ]
    )

    assert batch.seen.tolist() == [True, False, True]


@pytest.mark.parametrize("share", [0.2, 0.9, 1.0])
def test_an_image_that_shows_something_stays_where_the_place_has_one(share):
    torch.manual_seed(0)
    places = [
        place(n, hidden(chip(10 * n)), chip(10 * n + 1, PAN), hidden(chip(10 * n + 2, PAN)))
        for n in range(300)
    ]
    nothing = place(300, hidden(chip(3000)), hidden(chip(3001, PAN)))

    kept = drop_images(stack_places([*places, nothing]), share=share)

    assert kept.seen.tolist() == [True] * 300 + [False]
    left = shown(kept)
    assert len(left[300]) >= 1
    if share == 1.0:
        assert all(left[n] == [10 * n + 1] for n in range(300))
    else:
        # Those that show nothing stay as often as they would without the others.
        count = sum(len(left[n]) - (10 * n + 1 in left[n]) for n in range(300))
        assert abs(count - 600 * (1 - share)) < 4 * (600 * 0.25) ** 0.5


@pytest.mark.parametrize("shape", [(8, 12), (8, 8)])
def test_chips_keep_their_shape_however_they_are_turned(shape):
    torch.manual_seed(0)
    image = torch.arange(float(shape[0] * shape[1])).reshape(1, *shape)
    one = replace(
        chip(0, PAN, shape), image=image, valid=image[0] > 6, label=(image[0] % 7).to(torch.uint8)
    )
    batch = stack_places([place(n, one) for n in range(200)]).batches[0]

    turned = flip_randomly(batch)

    assert turned.image.shape == batch.image.shape
    moves = Counter(tuple(map(int, i.flatten())) for i in turned.image)
    corners = {move[0] for move in moves}
    assert corners == {int(image[0, r, c]) for r in (0, -1) for c in (0, -1)}
    assert len(moves) == (8 if shape[0] == shape[1] else 4)
    assert min(moves.values()) > 8
    # Mask and label with the image.
    assert torch.equal(turned.valid, turned.image[:, 0] > 6)
    assert torch.equal(turned.label, (turned.image[:, 0] % 7).to(torch.uint8))
