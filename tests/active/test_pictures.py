"""What is shown of a place: bands, stretch, what is not valid."""

import io

import numpy as np
import pytest
from labelled_places import HEIGHT, WIDTH, chip, place
from PIL import Image

from geoseg.active.page.pictures import picture, shown_images, shown_masks
from geoseg.page.pictures import png_bytes

RAMP = np.arange(HEIGHT * WIDTH, dtype=np.float32).reshape(HEIGHT, WIDTH)


def compositions(*images):
    return [one.compositions for one in shown_images(place(*images))]


@pytest.mark.parametrize(
    ("sensor", "names", "wanted"),
    [
        ("sentinel-2", ("blue", "green", "red", "nir"), ("rgb", "nir")),
        ("landsat-8", ("nir08", "red", "green", "pan"), ("nir", "pan")),
        ("landsat-8", ("blue", "green", "red"), ("rgb",)),
        ("hexagon-kh9-mapping", ("pan",), ("pan",)),
        ("sentinel-1", ("vh", "vv"), ("sar",)),
        ("sentinel-2", ("swir16", "swir22"), ("grey",)),
        ("sentinel-2", ("red", "green"), ("grey",)),
        ("dem", ("elevation", "slope"), ("elevation",)),
    ],
)
def test_an_image_is_shown_in_what_its_bands_allow(sensor, names, wanted):
    assert compositions(chip(sensor, names, RAMP)) == [wanted]


def test_elevation_change_is_there_from_the_second_elevation_of_the_same_ground_on():
    older, newer = (chip("dem", ("elevation",), RAMP, year=year) for year in (2000, 2012))
    coarser = chip("dem", ("elevation",), RAMP, year=2020, gsd_m=30.0)

    assert compositions(older, newer, coarser) == [
        ("elevation",),
        ("elevation", "change"),
        ("elevation",),
    ]


def test_captions_tell_sensor_date_and_ground_of_a_pixel():
    film = chip("hexagon-kh9-mapping", ("pan",), RAMP, year=1976, gsd_m=6.0)

    [shown] = shown_images(place(film))

    assert shown[:6] == ("Hexagon KH-9", "film", "1976-07-14", 6.0, HEIGHT, WIDTH)


def test_colours_are_of_their_bands_in_any_order_of_channels():
    bands = np.stack([RAMP, RAMP[::-1], RAMP[:, ::-1], -RAMP])  # green, blue, nir, red
    both = place(chip("sentinel-2", ("green", "blue", "nir", "red"), bands))

    true, false = picture(both, 0, "rgb"), picture(both, 0, "nir")

    assert true.shape == (HEIGHT, WIDTH, 4)
    assert list(true[0, 0]) == [255, 0, true[0, 0, 2], 255]
    assert np.array_equal(np.argsort(true[0, :, 1]), np.arange(WIDTH))
    np.testing.assert_array_equal(true[..., 2], true[::-1, :, 1])
    np.testing.assert_array_equal(false[..., 0], true[:, ::-1, 1])
    np.testing.assert_array_equal(false[..., 1], true[..., 0])
    np.testing.assert_array_equal(false[..., 2], true[..., 1])


def test_all_dates_of_a_sensor_are_stretched_alike_and_other_sensors_by_themselves():
    dark, bright = (
        chip("hexagon-kh9-mapping", ("pan",), RAMP + more, year=1976) for more in (0, 1000)
    )
    other = chip("corona-kh4b", ("pan",), RAMP, year=1969)
    three = place(dark, bright, other)

    first, second, alone = (picture(three, number, "pan") for number in range(3))

    assert first[..., 0].max() < 20
    assert second[..., 0].min() > 235
    assert (alone[..., 0].min(), alone[..., 0].max()) == (0, 255)


def test_stretches_are_reckoned_once_for_all_pictures_of_a_place(monkeypatch):
    rng = np.random.default_rng(2)
    kinds = (
        ("sentinel-2", ("blue", "green", "red", "nir")),
        ("sentinel-2", ("green", "red", "nir")),
        ("sentinel-1", ("vv", "vh")),
        ("dem", ("elevation",)),
    )
    images = [
        chip(sensor, names, rng.random((len(names), HEIGHT, WIDTH)), year=year)
        for sensor, names in kinds
        for year in (2000, 2010)
    ]
    many = place(*images)
    asked = [
        (number, composition)
        for number, image in enumerate(shown_images(many))
        for composition in image.compositions
    ]
    alone = [picture(many, *one) for one in asked]
    counted, reckon = [], np.percentile
    monkeypatch.setattr(np, "percentile", lambda *given: counted.append(1) or reckon(*given))

    stretches = {}
    together = [picture(many, *one, stretches) for one in asked]

    for one, other in zip(alone, together, strict=True):
        np.testing.assert_array_equal(one, other)
    # rgb and nir of four bands, nir of three, radar, elevation, change.
    assert len(counted) == 3 + 3 + 3 + 3 + 1 + 1


def test_two_in_a_hundred_at_each_end_are_black_and_white():
    image = np.linspace(0, 1, HEIGHT * WIDTH).reshape(HEIGHT, WIDTH)

    grey = picture(place(chip("hexagon-kh9-mapping", ("pan",), image)), 0, "pan")[..., 0]

    np.testing.assert_array_equal(grey, np.rint(255 * np.clip((image - 0.02) / 0.96, 0, 1)))


def test_what_is_not_valid_is_clear_and_stretches_nothing():
    valid = np.ones((HEIGHT, WIDTH), bool)
    valid[0, 0] = valid[4, 7] = False
    spoilt = np.where(valid, RAMP, 1e6)
    hidden = place(chip("hexagon-kh9-mapping", ("pan",), spoilt, valid=valid))

    shown = picture(hidden, 0, "pan")

    np.testing.assert_array_equal(shown[..., 3] == 255, valid)
    assert (shown[~valid] == 0).all()
    assert shown[..., 0].max() == 255


def test_an_image_without_a_valid_pixel_is_clear():
    nothing = chip("sentinel-1", ("vv", "vh"), RAMP, valid=np.zeros((HEIGHT, WIDTH), bool))

    assert (picture(place(nothing), 0, "sar") == 0).all()


def test_flat_ground_stays_flat():
    flat = 0.2 + 1e-4 * RAMP / RAMP.max()

    grey = picture(place(chip("hexagon-kh9-mapping", ("pan",), flat)), 0, "pan")[..., 0]

    assert int(grey.max()) - int(grey.min()) <= 3


def test_radar_is_vv_vh_and_their_ratio_in_decibels():
    vv, vh = 10 ** (RAMP / 100), np.full_like(RAMP, 0.01)
    pair = place(chip("sentinel-1", ("vh", "vv"), np.stack([vh, vv])))
    told = place(chip("sentinel-1", ("vh", "vv"), 10 * np.log10(np.stack([vh, vv]))))

    shown = picture(pair, 0, "sar")

    ramp = np.linspace(0, 1, HEIGHT * WIDTH).reshape(HEIGHT, WIDTH)
    wanted = np.rint(255 * np.clip((ramp - 0.02) / 0.96, 0, 1))
    np.testing.assert_allclose(shown[..., 0], wanted, atol=1)
    np.testing.assert_allclose(shown[..., 2], wanted, atol=1)
    assert len(np.unique(shown[..., 1])) == 1
    np.testing.assert_allclose(picture(told, 0, "sar"), shown, atol=1)


def test_radar_of_flat_ground_stays_flat_to_three_decibels():
    vv = 10 ** (RAMP / RAMP.max() / 10)  # by one decibel

    grey = picture(place(chip("sentinel-1", ("vv",), vv)), 0, "sar")[..., 0].astype(int)

    assert grey.max() - grey.min() == pytest.approx(255 / 3, abs=1)


def test_ground_that_sank_is_red_and_what_rose_is_blue():
    before = chip("dem", ("elevation",), RAMP, year=2000)
    moved = RAMP.copy()
    moved[0] -= 30
    moved[-1] += 30
    hidden = np.ones((HEIGHT, WIDTH), bool)
    hidden[3, 3] = False
    after = chip("dem", ("elevation",), moved, year=2012, valid=hidden)

    shown = picture(place(before, after), 1, "change").astype(int)

    assert (shown[0, :, :3] == (178, 24, 43)).all()
    assert (shown[-1, :, :3] == (33, 102, 172)).all()
    assert (shown[1:3, :, :3] == 247).all()
    assert shown[3, 3, 3] == 0


def test_a_png_holds_the_picture_and_a_huge_one_is_made_smaller():
    small = picture(place(chip("hexagon-kh9-mapping", ("pan",), RAMP)), 0, "pan")
    huge = np.zeros((10, 5000, 4), np.uint8)

    again = np.asarray(Image.open(io.BytesIO(png_bytes(small))))

    np.testing.assert_array_equal(again, small)
    assert Image.open(io.BytesIO(png_bytes(huge))).size == (1667, 4)


def test_masks_are_outlines_in_pixels_of_the_image():
    label = np.zeros((HEIGHT, WIDTH), int)
    label[1:4, 2:7] = 1
    label[5, 8] = 255

    [(class_, outline)] = shown_masks(chip("hexagon-kh9-mapping", ("pan",), RAMP, label=label))

    assert class_ == 1
    assert outline["type"] == "Polygon"
    assert {tuple(corner) for corner in outline["coordinates"][0]} == {
        (2.0, 1.0),
        (7.0, 1.0),
        (7.0, 4.0),
        (2.0, 4.0),
    }
