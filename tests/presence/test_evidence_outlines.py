"""`geoseg presence outline`, by a small classifier that was taught to find bright squares."""

import json
import math
from dataclasses import replace
from datetime import UTC, datetime

import geopandas as gpd
import numpy as np
import pytest
import shapely
import torch
from hypothesis import given
from hypothesis import strategies as st
from pyproj import CRS, Geod
from typer.testing import CliRunner

from geoseg.chips import Chip, Place, stack_places
from geoseg.commands.presence import presence_app
from geoseg.errors import ConfigError, DataError
from geoseg.labels import IGNORE
from geoseg.metrics.calibration import fit_calibration
from geoseg.models import (
    ClassifierSpec,
    FixedInput,
    build_classifier,
    evidence_loss,
    load_classifier,
    presence_loss,
    save_classifier,
)
from geoseg.presence.activation import activation_maps, decision_level
from geoseg.presence.evidence_outlines import OutlineRequest, write_evidence_outlines
from geoseg.presence.packs import Given, Shards, make_pack, read_pack
from geoseg.presence.predict import Prediction, predict_pack
from geoseg.presence.results import part_of_shard
from geoseg.presence.scoring import Verdict
from geoseg.scale import Engine
from geoseg.sensors import find_sensor

HEIGHT, WIDTH, GSD_M = 48, 64, 10.0  # not square: a swapped axis is seen
SENSOR = find_sensor("sentinel-2")
BANDS = ("red", "nir")
DAY = datetime(2020, 7, 1, 12, tzinfo=UTC)


def chip(seed, square=None, *, time=DAY, hidden=None):
    """Noise, and in it a bright square: (first row, first column, side) in pixels."""
    rng = np.random.default_rng(seed)
    image = rng.normal(0.2, 0.03, (len(BANDS), HEIGHT, WIDTH)).astype(np.float32)
    label = np.zeros((HEIGHT, WIDTH), dtype=np.uint8)
    if square is not None:
        top, left, side = square
        label[top : top + side, left : left + side] = 1
        image += 0.4 * label
    valid = np.ones((HEIGHT, WIDTH), dtype=bool)
    if hidden is not None:
        valid[hidden] = False
        image[:, hidden[0], hidden[1]] = 0
        label[hidden] = IGNORE
    return Chip(
        image=torch.from_numpy(image),
        valid=torch.from_numpy(valid),
        label=torch.from_numpy(label),
        palette=torch.zeros(len(BANDS), 4),
        bands=tuple(SENSOR.band(name) for name in BANDS),
        gsd_m=GSD_M,
        time=time,
        sensor_id="sentinel-2",
    )


def place(name, *images, lon=-135.0, lat=67.4, present=None):
    return Place(id=name, lon=lon, lat=lat, images=images, present=present)


def random_place(seed):
    rng = np.random.default_rng([seed, 1])
    side = int(rng.integers(12, 25))
    square = (int(rng.integers(0, HEIGHT - side)), int(rng.integers(0, WIDTH - side)), side)
    held = bool(rng.random() < 0.5)
    return place(str(seed), chip(seed, square if held else None), present=held)


@pytest.fixture(scope="module")
def taught():
    torch.manual_seed(0)
    spec = ClassifierSpec(
        encoder="test_resnet",
        input=FixedInput(bands=BANDS, mean=(0.2, 0.2), std=(0.1, 0.1)),
        target="thaw_slump",
        size_px=HEIGHT,
        output_stride=8,
        width=16,
    )
    classifier = build_classifier(spec).train()
    optimizer = torch.optim.AdamW(classifier.parameters(), lr=5e-3)
    places = [random_place(seed) for seed in range(64)]
    for step in range(60):
        batch = stack_places([places[(step * 16 + k) % 64] for k in range(16)])
        found = classifier([b.view() for b in batch.batches], batch.owners, batch.size)
        loss = presence_loss(found.places, batch.present)
        loss = loss + evidence_loss(found.evidence[0], batch.batches[0].label)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return classifier.eval()


@pytest.fixture(scope="module")
def model(taught, tmp_path_factory):
    path = tmp_path_factory.mktemp("model") / "model.safetensors"
    save_classifier(path, taught, {})
    return path


def packed(folder, *places, **options):
    return make_pack(Given(pool=places, name=folder.name), folder, **options).pack


def outlines_of(pack, model, out, **changes):
    request = OutlineRequest(pack=pack.folder, model=model, device="cpu", **changes)
    made = write_evidence_outlines(request, out)
    return made, gpd.read_file(out, layer="evidence")


def on_chip(outlines, lon, lat):
    """Outlines in pixels of a chip about a point: columns and rows."""
    about = CRS.from_proj4(f"+proj=aeqd +lon_0={lon} +lat_0={lat} +ellps=WGS84 +units=m")
    metres = outlines.to_crs(about).geometry
    return shapely.transform(
        metres.to_numpy(), lambda c: c / (GSD_M, -GSD_M) + (WIDTH / 2, HEIGHT / 2)
    )


def masks_of(classifier, place, level):
    """Where in each image the evidence reaches a level."""
    (maps,), _ = activation_maps(classifier, [place])
    return [found >= level for found in maps]


def iou(one, other):
    return one.intersection(other).area / one.union(other).area


@pytest.mark.slow
def test_a_mask_lies_over_the_square_and_is_empty_where_there_is_none(taught):
    squares = [(4, 36, 20), (24, 4, 16), (14, 22, 20)]
    shown = place("a", *(chip(n + 500, square) for n, square in enumerate(squares)), chip(7))

    masks = masks_of(taught, shown, 0.0)

    for mask, image in zip(masks, shown.images, strict=True):
        truth = image.label.numpy() == 1
        assert mask.shape == (HEIGHT, WIDTH)
        assert mask.dtype == bool
        if truth.any():
            assert (mask & truth).sum() / (mask | truth).sum() > 0.5
    assert not masks[-1].any()


@pytest.mark.slow
def test_nothing_is_masked_where_nothing_is_valid_and_what_lies_there_says_nothing(taught):
    hidden = (slice(0, HEIGHT), slice(0, 32))
    clouded = chip(3, (14, 36, 20), hidden=hidden)

    (maps,), _ = activation_maps(taught, [place("a", clouded)])

    assert np.isnan(maps[0][hidden]).all()
    assert np.isfinite(maps[0][:, 32:]).all()
    # Beside the border the evidence is that of the nearest cell that was seen.
    border = maps[0][:, 32:36]
    np.testing.assert_allclose(border, np.repeat(border[:, :1], 4, axis=1), rtol=1e-5)
    assert not masks_of(taught, place("a", clouded), -math.inf)[0][hidden].any()


def test_cells_that_reach_beyond_an_image_do_not_shift_its_mask(taught):
    whole = chip(3, (20, 30, 20))
    part = (..., slice(43), slice(59))  # not whole cells of 8 pixels
    cut = replace(whole, image=whole.image[part], valid=whole.valid[part], label=whole.label[part])

    (mask,) = masks_of(taught, place("a", whole), 0.0)
    (found,) = masks_of(taught, place("a", cut), 0.0)

    assert found.shape == (43, 59)
    assert (found & mask[part]).sum() / (found | mask[part]).sum() > 0.9


def test_images_keep_their_order_among_sensors_and_shapes(taught):
    small = chip(1, (4, 4, 20))
    cut = replace(
        small, image=small.image[:, :, :40], valid=small.valid[:, :40], label=small.label[:, :40]
    )
    shown = place("a", small, cut, chip(2), cut)

    together = activation_maps(taught, [shown, place("b", cut)])[0]

    for image, found in zip((*shown.images, cut), (*together[0], *together[1]), strict=True):
        alone = activation_maps(taught, [place("c", image)])[0][0][0]
        np.testing.assert_allclose(found, alone, atol=1e-4)


def test_outlines_lie_on_the_ground_over_the_squares_with_their_area(model, tmp_path):
    squares = [(4, 36, 20), (24, 4, 20)]
    lon, lat = -135.0, 67.4
    times = [DAY.replace(year=2018), DAY]
    images = [chip(50 + n, s, time=t) for n, (s, t) in enumerate(zip(squares, times, strict=True))]
    pack = packed(tmp_path / "pack", place("a", *images, lon=lon, lat=lat), place("no", chip(9)))

    made, outlines = outlines_of(pack, model, tmp_path / "evidence.gpkg")

    assert outlines.crs == CRS.from_epsg(4326)
    assert set(outlines.chip_id) == {"a"}
    assert outlines.image.tolist() == [0, 1]
    assert [when.year for when in outlines.date] == [2018, 2020]
    assert set(outlines.sensor) == {"sentinel-2"}
    assert (made.places, made.outlined, made.outlines) == (1, 1, 2)
    for found, (top, left, side) in zip(on_chip(outlines, lon, lat), squares, strict=True):
        assert iou(found, shapely.box(left, top, left + side, top + side)) > 0.5
    geodesic = [Geod(ellps="WGS84").geometry_area_perimeter(g)[0] for g in outlines.geometry]
    np.testing.assert_allclose(geodesic, outlines.area_m2, rtol=1e-5)
    # Known to half a cell of evidence (8 pixels) on each side.
    border_m2 = 4 * 20 * 4 * GSD_M**2
    assert (np.abs(outlines.area_m2 - (20 * GSD_M) ** 2) < border_m2).all()
    assert outlines.evidence.between(0.5, 1).all()


@given(st.floats(-180, 180), st.floats(-89.99, 89.99))
def test_a_square_is_as_wide_and_as_far_north_wherever_it_lies(lon, lat):
    from geoseg.presence.evidence_outlines import _in_degrees, _in_metres

    shown = chip(0)
    polygon = np.array([shapely.box(40, 8, 60, 18)])  # columns and rows

    (found,) = _in_degrees(_in_metres(polygon, shown), lon, lat)

    geod = Geod(ellps="WGS84")
    corners = shapely.get_coordinates(found)
    azimuth, _, distance = geod.inv(np.full(5, lon), np.full(5, lat), corners[:, 0], corners[:, 1])
    east = np.sin(np.radians(azimuth)) * distance
    north = np.cos(np.radians(azimuth)) * distance
    np.testing.assert_allclose([east.min(), east.max()], [80, 280], atol=1e-3)
    np.testing.assert_allclose([north.min(), north.max()], [60, 160], atol=1e-3)
    assert abs(corners[:, 0] - lon).max() <= 180


def test_the_mean_evidence_is_that_of_the_pixels_and_the_level_that_of_the_calibration(
    taught, tmp_path
):
    rng = np.random.default_rng(0)
    present = rng.random(400) < 0.5
    calibration = fit_calibration(rng.normal(np.where(present, 1.0, -1.0), 1.5), present)
    threshold = {"threshold": 0.7, "n": 9, "recall": 0.9, "confidence": 0.95}
    model = tmp_path / "model.safetensors"
    record = {"calibration": calibration.to_dict(), "threshold": threshold, "prevalence": 1e-3}
    save_classifier(model, taught, record)
    shown = place("a", chip(60, (10, 30, 24)))
    pack = packed(tmp_path / "pack", shown)

    _, outlines = outlines_of(pack, model, tmp_path / "evidence.gpkg")

    verdict = Verdict.of(load_classifier(model).record)
    level = decision_level(verdict, "sentinel-2")
    assert calibration.probability([level], ["sentinel-2"])[0] == pytest.approx(0.7)
    (maps,), _ = activation_maps(taught, [shown])
    inside = maps[0] >= level
    assert len(outlines) == 1
    assert outlines.evidence[0] == pytest.approx(
        calibration.probability(maps[0][inside]).mean(), abs=1e-6
    )
    assert outlines.area_m2[0] == pytest.approx(inside.sum() * GSD_M**2, rel=0.05)


@pytest.mark.slow
@given(st.floats(0.001, 0.999))
def test_the_level_is_where_the_decision_turns(threshold):
    rng = np.random.default_rng(1)
    present = rng.random(900) < 0.5
    logits = rng.normal(np.where(present, 1.0, -1.0), 1.5) ** 3
    calibration = fit_calibration(logits, present)
    verdict = Verdict(calibration=calibration, threshold=threshold)

    level = decision_level(verdict)

    assert verdict(np.array([level - 1e-6, level + 1e-6]), [None] * 2)[1].tolist() == [False, True]


def test_a_threshold_of_0_or_1_takes_all_or_none():
    assert decision_level(Verdict(calibration=None, threshold=0.0)) == -math.inf
    assert decision_level(Verdict(calibration=None, threshold=1.0)) == math.inf
    assert decision_level(Verdict(calibration=None, threshold=0.5)) == 0


@pytest.mark.slow
def test_with_results_their_decisions_are_taken_and_the_outlines_are_the_same(model, tmp_path):
    places = [random_place(900 + n) for n in range(12)]
    pack = packed(tmp_path / "pack", *places, per_shard=5)
    results = tmp_path / "results"
    asked = Prediction(pack=pack.folder, model=model, out=results, device="cpu")
    decided = predict_pack(asked, Engine()).decided

    without, anew = outlines_of(pack, model, tmp_path / "anew.gpkg")
    made, outlines = outlines_of(pack, model, tmp_path / "evidence.gpkg", results=results)

    assert made == without
    assert 0 < made.places == decided < 12
    assert outlines.drop(columns=["geometry", "evidence"]).equals(
        anew.drop(columns=["geometry", "evidence"])
    )
    np.testing.assert_allclose(outlines.evidence, anew.evidence, atol=1e-4)


def test_of_results_that_are_not_finished_the_shards_that_are_done_are_outlined(model, tmp_path):
    places = [place(str(n), chip(60 + n, (10, 30, 24))) for n in range(6)]
    pack = packed(tmp_path / "pack", *places, per_shard=2)
    results, out = tmp_path / "results", tmp_path / "e.gpkg"
    predict_pack(Prediction(pack=pack.folder, model=model, out=results, device="cpu"), Engine())
    part_of_shard(results, 1).unlink()
    asked = ["outline", pack.folder, "--model", model, "--results", results, "--out", out]

    done = CliRunner().invoke(presence_app, [*map(str, asked), "--json", "--device", "cpu"])

    assert done.exit_code == 0, done.stderr
    assert "2 of 3 shards are done: what is told is of these alone." in " ".join(
        done.stderr.split()
    )
    assert json.loads(done.stdout)["problems"] == 0
    assert set(gpd.read_file(out, layer="evidence").chip_id) == {"0", "1", "4", "5"}


def test_results_of_another_model_or_none_are_refused_and_nothing_is_written(
    taught, model, tmp_path
):
    pack = packed(tmp_path / "pack", random_place(1))
    results, out = tmp_path / "results", tmp_path / "evidence.gpkg"
    predict_pack(Prediction(pack=pack.folder, model=model, out=results, device="cpu"), Engine())
    other = tmp_path / "other.safetensors"
    save_classifier(other, taught, {"threshold": {"threshold": 0.3}})
    another = packed(tmp_path / "another", random_place(2))

    with pytest.raises(ConfigError, match="holds results of another model; give that model"):
        outlines_of(pack, other, out, results=results)
    with pytest.raises(ConfigError, match="holds results of another pack"):
        outlines_of(another, model, out, results=results)
    with pytest.raises(DataError, match=r"results\.json tells of no prediction"):
        outlines_of(pack, model, out, results=tmp_path)
    with pytest.raises(ConfigError, match=r"let it end in '\.gpkg'"):
        outlines_of(pack, model, tmp_path / "evidence.shp")
    assert not out.exists()


def test_the_growth_of_a_place_is_told_on_the_dates_that_show_all_of_it(model, tmp_path):
    years = range(2012, 2021)
    sides = np.linspace(12, 28, len(years)).round().astype(int).tolist()
    squares = [(24 - side // 2, 32 - side // 2, side) for side in sides]
    hidden = {2014: (slice(None), slice(32)), 2016: (slice(6), slice(None))}
    images = [
        chip(70 + n, square, time=DAY.replace(year=year), hidden=hidden.get(year))
        for n, (year, square) in enumerate(zip(years, squares, strict=True))
    ]
    before = chip(69, time=DAY.replace(year=2010))  # nothing is outlined
    once = place("once", chip(60, (10, 30, 24)))
    pack = packed(tmp_path / "pack", place("a", before, *images, lon=20.0, lat=70.0), once)

    made, outlines = outlines_of(pack, model, tmp_path / "e.gpkg")

    growth = gpd.read_file(tmp_path / "e.gpkg", layer="growth")
    assert (made.places, made.outlined, made.grown) == (2, 2, 1)
    assert growth.crs == CRS.from_epsg(4326)
    assert list(growth.geometry.to_wkt().unique()) == ["POINT (20 70)"]
    assert set(growth.chip_id) == {"a"}
    # Half of it lay under a cloud in 2014, other ground in 2016.
    assert growth.year.astype(int).tolist() == [y for y in years if y != 2014]
    assert (growth.area_m2.diff().iloc[1:] >= 0).all()
    told = outlines[outlines.chip_id == "a"].groupby(outlines.date.dt.year).area_m2.sum()
    shown = told.loc[growth.year.astype(int)].to_numpy()
    assert np.median(np.abs(growth.area_m2 / shown - 1)) < 0.05
    true = np.array([s * s * GSD_M**2 for y, s in zip(years, sides, strict=True) if y != 2014])
    assert ((growth.low_m2 <= true) & (true <= growth.high_m2)).mean() > 0.7
    rate = np.polyfit(growth.year, true, 1)[0]
    assert growth.rate_low[0] < rate < growth.rate_high[0]
    assert growth.rate_m2_per_year.nunique() == 1


def test_places_that_several_dates_tell_no_growth_of_are_counted_with_why(model, tmp_path):
    square, later = (14, 22, 20), DAY.replace(year=2021)
    clouded = chip(71, square, time=later, hidden=(slice(None), slice(32)))
    places = [
        place("clouded", chip(70, square), clouded),
        place("later", clouded, chip(72, square)),
        place("once", chip(74, square)),
        place("grown", chip(75, square), chip(76, square, time=later)),
    ]
    pack = packed(tmp_path / "pack", *places)
    asked = ["outline", pack.folder, "--model", model, "--out", tmp_path / "e.gpkg", "--json"]

    done = CliRunner().invoke(presence_app, [*map(str, asked), "--device", "cpu"])

    figures = json.loads(done.stdout)
    assert (figures["outlined"], figures["grown"], figures["not_grown"]) == (4, 1, 2)
    assert "2 places have outlines and several dates, and no growth is told of them" in done.stderr
    assert set(gpd.read_file(tmp_path / "e.gpkg", layer="growth").chip_id) == {"grown"}


def test_places_without_a_position_are_counted_and_an_empty_layer_has_its_columns(model, tmp_path):
    nowhere = place("a", chip(60, (10, 30, 24)), lon=math.nan, lat=math.nan)

    made, outlines = outlines_of(packed(tmp_path / "p", nowhere), model, tmp_path / "e.gpkg")

    assert (made.places, made.unplaced, made.outlines) == (1, 1, 0)
    assert outlines.crs == CRS.from_epsg(4326)
    wanted = ["chip_id", "image", "date", "sensor", "area_m2", "evidence", "geometry"]
    assert list(outlines.columns) == wanted
    growth = gpd.read_file(tmp_path / "e.gpkg", layer="growth")
    assert len(growth) == 0
    assert {"chip_id", "year", "area_m2", "rate_low"} <= set(growth.columns)


def test_a_shard_that_is_gone_is_named_and_the_others_are_outlined(model, tmp_path):
    places = [place(str(n), chip(60 + n, (10, 30, 24))) for n in range(4)]
    pack = packed(tmp_path / "pack", *places, per_shard=2)
    pack.shards[0].path.unlink()
    asked = ["outline", pack.folder, "--model", model, "--out", tmp_path / "e.gpkg", "--json"]

    done = CliRunner().invoke(presence_app, [*map(str, asked), "--device", "cpu"])

    assert done.exit_code == 1
    figures = json.loads(done.stdout)
    assert (figures["places"], figures["outlined"], figures["problems"]) == (2, 2, 1)
    assert "000000.tar" in done.stderr
    assert set(gpd.read_file(tmp_path / "e.gpkg", layer="evidence").chip_id) == {"2", "3"}
    assert not list(tmp_path.glob(".*"))
    assert len(read_pack(pack.folder).shards) == 2


def test_damaged_masks_cost_no_outline(model, tmp_path):
    places = [place(str(n), chip(60 + n, (10, 30, 24))) for n in range(2)]
    shard = packed(tmp_path / "whole", *places).shards[0].path
    spoilt = tmp_path / "spoilt.tar"
    spoilt.write_bytes(shard.read_bytes().replace(b"\x89PNG", b"none"))  # of masks alone
    made = make_pack(Shards(paths=[spoilt], foreign=None), tmp_path / "pack")
    asked = Prediction(pack=made.pack.folder, model=model, out=tmp_path / "results", device="cpu")
    assert predict_pack(asked, Engine()).decided == len(made.problems) == 2

    anew, _ = outlines_of(made.pack, model, tmp_path / "anew.gpkg")
    found, _ = outlines_of(made.pack, model, tmp_path / "e.gpkg", results=tmp_path / "results")

    assert anew == found
    assert (found.places, found.outlined, found.problems) == (2, 2, 0)
