"""Modern images rendered as film."""

import pytest
import torch

from geoseg.chips import Batch, film_some
from geoseg.chips.film import EFFECTS, RandomFilm, panchromatic, to_film
from geoseg.errors import SensorError
from geoseg.sensors import find_sensor

HEXAGON = find_sensor("hexagon-kh9-mapping")
S2 = find_sensor("sentinel-2")
BANDS = tuple(S2.band(name) for name in ("blue", "green", "red", "nir"))


def off(count=1, **values):
    """Parameters with which nothing happens but a straight-line film, and those that are named."""
    given = {name: e.usual for name, e in EFFECTS.items()} | {"gamma": 1.5, "latitude": 2}
    params = {k: torch.full((count,), float(v)) for k, v in (given | values).items()}
    params.setdefault("gsd_m", torch.full((count,), 6.0))
    params.setdefault("sky", torch.zeros(count))
    return params


def render(light, **values):
    torch.manual_seed(0)
    params = off(len(light), **values)
    return RandomFilm(resolution_m=6.0)(light, params=params)


def scene(count=2, *, size=64, scale=1.0):
    torch.manual_seed(3)
    image = torch.rand(count, 4, size, size) ** 2 * scale
    return image, image.flatten(2)[..., :1024]


def film_of(image, palette, *, gsd_m=6.0, seed=0):
    torch.manual_seed(seed)
    return to_film(image, palette, BANDS, torch.full((len(image),), gsd_m), camera=HEXAGON)


def test_film_sees_the_bands_within_its_response():
    colours = torch.zeros(4, 4, 2, 2)
    for band in range(4):
        colours[band, band] = 1.0

    blue, green, red, nir = panchromatic(colours, BANDS, HEXAGON)[:, 0, 0, 0]

    assert 0 < blue < min(green, red)
    assert nir == 0
    assert 0.3 < green < 0.7
    assert 0.3 < red < 0.7
    assert blue + green + red == pytest.approx(1)


def test_a_missing_band_is_stood_for_by_the_others_and_nothing_is_made_of_nothing():
    image = torch.full((1, 4, 2, 3), 0.4)
    image[:, 1, 0, 0] = torch.nan
    image[:, :, 1, 1] = torch.nan

    seen = panchromatic(image, BANDS, HEXAGON)

    assert seen[0, 0, 0, 0] == pytest.approx(0.4)
    assert seen[0, 0, 1, 1].isnan()
    assert film_of(image, image.flatten(2))[0].isnan().sum() == 1


@pytest.mark.parametrize(
    ("camera", "bands", "message"),
    [
        ("landsat-7", BANDS, "landsat-7 is no film; give a sensor of kind film"),
        (
            "hexagon-kh9-mapping",
            BANDS[3:],
            "nir lies in view of hexagon-kh9-mapping; give",
        ),
    ],
)
def test_what_cannot_be_film_is_refused(camera, bands, message):
    with pytest.raises(SensorError, match=message):
        panchromatic(torch.ones(1, len(bands), 2, 2), bands, find_sensor(camera))


def test_a_film_is_whole_counts_of_eight_bits():
    counts, palette = film_of(*scene())

    for values in (counts, palette):
        assert torch.equal(values, values.round())
        assert values.min() >= 0
        assert values.max() <= 255
    assert counts.shape == (2, 1, 64, 64)
    assert palette.shape == (2, 1, 1024)


@pytest.mark.parametrize("scale", [1e-4, 1e4])
def test_the_unit_of_the_scene_does_not_matter(scale):
    image, palette = scene()

    one, other = film_of(image, palette)[0], film_of(image * scale, palette * scale)[0]

    assert (one - other).abs().max() <= 1


def test_one_seed_gives_one_film():
    image, palette = scene()

    assert torch.equal(film_of(image, palette)[0], film_of(image, palette)[0])
    assert not torch.equal(film_of(image, palette)[0], film_of(image, palette, seed=1)[0])


def test_brighter_ground_is_brighter_and_both_ends_of_the_curve_are_flat():
    light = torch.logspace(-2.5, 0.5, 61).view(1, 1, 1, 61)

    tone = render(light)[0, 0, 0]

    steps = tone.diff()
    assert (steps >= 0).all()
    assert steps[:5].mean() < 0.5 * steps[28:36].mean()
    assert steps[-5:].mean() < 0.5 * steps[28:36].mean()


@pytest.mark.parametrize("gamma", [1.0, 2.0])
def test_gamma_is_the_slope_of_the_straight_part(gamma):
    step = 0.02
    light = 10 ** (torch.tensor([-0.6 - step, -0.6 + step])).view(1, 1, 1, 2)

    low, high = render(light, gamma=gamma, latitude=2)[0, 0, 0]

    # Counts are density over the latitude, in 255 steps.
    assert (high - low) / 255 * 2 / (2 * step) == pytest.approx(gamma, abs=0.25)


def test_grain_grows_with_density_and_is_averaged_by_larger_pixels():
    def noise(exposure, gsd_m):
        light = torch.full((1, 1, 128, 128), exposure)
        return render(light, grain=0.05, gsd_m=gsd_m).std()

    assert noise(0.25, 6.0) > 1.3 * noise(0.08, 6.0)
    assert noise(0.25, 24.0) == pytest.approx(float(noise(0.25, 6.0)) / 4, rel=0.25)


def test_an_edge_is_as_wide_as_the_resolution_of_the_camera():
    light = torch.full((1, 1, 16, 64), 0.1)
    light[..., 32:] = 0.3

    sharp, blurred = (render(light, blur=blur, gsd_m=2.0)[0, 0, 8] for blur in (0.0, 1.0))

    def width(row):
        low, high = row.min(), row.max()
        within = (row > low + 0.12 * (high - low)) & (row < low + 0.88 * (high - low))
        return int(within.sum())

    assert width(sharp) == 0
    # 12 to 88 % of a Gaussian edge is as wide as its full width at half maximum: 6 m, 3 pixels.
    assert 2 <= width(blurred) <= 4


def test_shadow_loses_the_light_of_the_sky_and_snow_does_not():
    light = torch.tensor([0.05, 0.9]).view(1, 1, 1, 2)

    plain, hard = (render(light, shadow=s, sky=0.05)[0, 0, 0] for s in (0.0, 0.9))

    assert hard[0] < plain[0] - 5
    assert abs(hard[1] - plain[1]) < 6


def test_dust_and_scratches_are_few():
    light = torch.full((40, 1, 64, 64), 0.25)
    plain = render(light)

    dusty = render(light, dust=4.0) != plain
    scratched = render(light, scratches=1.0) != plain

    assert 0 < dusty.float().mean() < 0.01
    share = scratched.flatten(1).any(dim=1).float().mean()
    assert 0.3 < share < 0.9
    assert scratched.float().mean() < 0.05


def test_stripes_run_along_one_side():
    light = torch.full((12, 1, 32, 48), 0.25)

    striped = render(light, stripes=0.02)[:, 0]

    along_rows = (striped == striped[:, :, :1]).all(dim=2).all(dim=1)
    along_columns = (striped == striped[:, :1, :]).all(dim=2).all(dim=1)
    assert (along_rows ^ along_columns).all()
    assert along_rows.any()
    assert along_columns.any()


def test_a_warp_moves_an_edge_by_about_a_pixel():
    light = torch.full((8, 1, 64, 64), 0.1)
    light[..., 32:] = 0.5

    bent = render(light, warp=1.0)

    middle = (bent > bent.mean()).sum(dim=-1).float()
    assert 0.2 < (middle - 32).std() < 3


def test_what_is_missing_is_not_black_ground_beside_it():
    light = torch.full((1, 1, 32, 32), 0.3)
    holed = light.clone()
    holed[..., :16] = torch.nan

    whole, half = (render(x, blur=1.6, gsd_m=2.0, warp=0.5) for x in (light, holed))

    assert half[..., :16].isnan().all()
    torch.testing.assert_close(half[..., 16:], whole[..., 16:], atol=1, rtol=0)


def test_the_palette_has_the_tones_of_the_scene():
    image, _ = scene(6, size=96)
    counts, palette = film_of(image, image.flatten(2), gsd_m=12.0)

    torch.testing.assert_close(
        palette.mean(-1).flatten(), counts.mean((-2, -1)).flatten(), atol=14, rtol=0.1
    )


def test_snow_on_a_whole_chip_is_white():
    image, palette = scene()
    snow = torch.full_like(image, 1.0)

    assert film_of(snow, palette)[0].mean() > film_of(image, palette)[0].mean() + 15


def batch_of(image, bands):
    count, _, height, width = image.shape
    return Batch(
        image,
        torch.ones(count, height, width, dtype=torch.bool),
        torch.zeros(count, height, width, dtype=torch.uint8),
        image.flatten(2),
        torch.full((count,), 10.0),
        bands,
    )


def test_a_share_of_optical_chips_becomes_film_and_keeps_its_terrain():
    torch.manual_seed(0)
    slope = find_sensor("dem").band("slope")
    optical = batch_of(torch.rand(40, 5, 32, 32), (*BANDS, slope))
    radar = batch_of(torch.rand(4, 2, 32, 32), find_sensor("sentinel-1").bands[:2])

    batches = film_some([optical, radar], share=0.5, cameras=["hexagon-kh9-mapping"])

    kept, film, same = batches
    assert len(kept.image) + len(film.image) == 40
    assert 10 < len(film.image) < 30
    assert [band.common_name for band in film.bands] == ["pan", "slope"]
    assert film.image[:, 1].max() <= 1
    assert film.image[:, 0].max() > 50
    assert same is radar


def test_two_visible_bands_or_one_are_enough_for_film_and_none_is_not():
    for names, films in ((("red", "nir"), 1), (("green",), 1), (("nir",), 0)):
        batch = batch_of(torch.rand(4, len(names), 32, 32), tuple(S2.band(n) for n in names))

        (made,) = film_some([batch], share=1.0, cameras=["hexagon-kh9-mapping"])

        assert (made.bands == HEXAGON.bands) == bool(films)


def test_film_is_not_filmed_again():
    pan = batch_of(torch.rand(4, 1, 32, 32), HEXAGON.bands)

    assert film_some([pan], share=1.0, cameras=["hexagon-kh9-mapping"]) == [pan]
