import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import geopandas as gpd
import numpy as np
import pandas as pd
import pytest
import torch
from conftest import scene_of, write_raster
from hypothesis import given, settings
from hypothesis import strategies as st
from odc.geo.geobox import GeoBox
from pyproj import Geod, Transformer
from rasterio.windows import Window

from geoseg.chips import Chip
from geoseg.chips.place import Place, stack_places
from geoseg.errors import ConfigError, DataError, LabelError, ModelError
from geoseg.files import sha256_of
from geoseg.inference import SceneView, open_input
from geoseg.metrics.calibration import fit_calibration
from geoseg.models import (
    ClassifierSpec,
    FixedInput,
    build_classifier,
    load_classifier,
    save_classifier,
)
from geoseg.models.classifier import _softmax_of_groups
from geoseg.presence.about import unfinished
from geoseg.presence.first_table import shipped_date_errors
from geoseg.presence.rows.cut import chips_of, parts_of, sites_within, strips
from geoseg.presence.rows.embed import EmbedJob, embed_scenes
from geoseg.presence.rows.embedder import Embedder
from geoseg.presence.rows.grid import PlaceGrid
from geoseg.presence.rows.head import fit_head, load_head, read_labelled, save_head
from geoseg.presence.rows.places import RowScorer
from geoseg.presence.rows.quantise import Quantiser
from geoseg.presence.rows.score import ScoreJob, score_rows
from geoseg.presence.rows.store import BlockRows, index_rows, read_block, read_header
from geoseg.report.presence_results import read_about
from geoseg.scale import Engine
from geoseg.scenes import bands_of, open_scene

GEOD = Geod(ellps="WGS84")
BANDS = ("red", "nir08")
SIDE = 16  # pixels of a chip of the examples: 480 m of 30 m

spacings = st.sampled_from([100.0, 320.0, 1000.0, 41_000.0])
longitudes = st.one_of(st.floats(-180, 180), st.sampled_from([-180.0, 180.0, 179.9999999, 0.0]))
latitudes = st.one_of(st.floats(-90, 90), st.sampled_from([-90.0, 90.0, 89.9999, -89.999, 0.0]))


def one(*values):
    return tuple(np.array([value], dtype=np.float64) for value in values)


@given(spacing=spacings, lon=longitudes, lat=latitudes)
def test_a_cell_holds_its_own_centre(spacing, lon, lat):
    grid = PlaceGrid(spacing)

    cell = grid.cells_at(*one(lon, lat))
    centre = grid.centres(cell)

    assert grid.cells_at(*centre).tolist() == cell.tolist()
    assert np.abs(centre[0]) < 180
    assert np.abs(centre[1]) < 90


@given(spacing=spacings, lon=longitudes, lat=latitudes)
def test_a_point_is_no_further_from_the_centre_of_its_cell_than_its_corner(spacing, lon, lat):
    grid = PlaceGrid(spacing)

    centre = grid.centres(grid.cells_at(*one(lon, lat)))

    # Cells at a pole are triangles, whose corner is the pole.
    assert GEOD.inv(lon, lat, centre[0][0], centre[1][0])[2] <= 0.75 * spacing


@given(lon=longitudes, lat=latitudes, turns=st.integers(-2, 2))
def test_a_whole_turn_leads_to_the_same_cell(lon, lat, turns):
    # A multiple of 2^-20 degrees, so that turns are added without rounding.
    lon = round(lon * 2**20) / 2**20

    turned = PlaceGrid().cells_at(*one(lon + 360 * turns, lat))

    assert turned.tolist() == PlaceGrid().cells_at(*one(lon, lat)).tolist()


def test_the_worked_number_of_the_docstring_holds():
    assert divmod(int(PlaceGrid().cells_at(*one(0, 0))[0]), 2**32) == (31413, 62828)


def test_a_spacing_that_makes_no_grid_is_refused():
    with pytest.raises(ConfigError, match=r"A spacing of 0.1 m makes no grid"):
        PlaceGrid(0.1)


@given(seed=st.integers(0, 1000), scale=st.sampled_from([1e-3, 1.0, 1e3]), width=st.integers(1, 12))
def test_restored_embeddings_are_within_half_a_step_and_folded_weights_agree(seed, scale, width):
    rng = np.random.default_rng(seed)
    sample = (scale * (rng.normal(size=(50, width)) + 3)).astype(np.float32)
    weight, bias = rng.normal(size=width).astype(np.float32), 0.7
    quantiser = Quantiser.fit(sample)

    stored = quantiser.store(sample)
    restored = quantiser.restore(stored)
    folded, constant = quantiser.fold(weight, bias)

    assert (np.abs(restored - sample) <= 0.501 * quantiser.scale).all()
    np.testing.assert_allclose(
        stored @ folded + constant, restored @ weight + bias, rtol=1e-4, atol=1e-3 * scale
    )
    assert quantiser.cut_off(sample) == 0


def test_what_is_beyond_the_sample_has_room_and_what_is_far_beyond_is_counted():
    sample = np.linspace(0, 1, 11, dtype=np.float32)[:, None]
    quantiser = Quantiser.fit(sample)
    beyond = np.array([[1.4], [-0.4], [1.6]], dtype=np.float32)

    restored = quantiser.restore(quantiser.store(beyond))

    np.testing.assert_allclose(restored[:2], beyond[:2], atol=0.01)
    assert restored[2, 0] == pytest.approx(1.5, abs=0.01)
    assert quantiser.cut_off(beyond) == 1


def test_a_quantiser_comes_back_from_json_to_the_bit():
    quantiser = Quantiser.fit(np.random.default_rng(0).normal(size=(9, 5)).astype(np.float32))

    again = Quantiser.from_dict(quantiser.to_dict())

    assert again.scale.tobytes() == quantiser.scale.tobytes()
    assert again.offset.tobytes() == quantiser.offset.tobytes()


def centred_in(grid, places):
    """Cells whose centres lie on a grid of pixels; each holds the middle of a pixel there too."""
    to_grid = Transformer.from_crs("EPSG:4326", grid.crs.proj, always_xy=True)
    height, width = grid.shape
    column, row = (v.ravel() + 0.5 for v in np.meshgrid(np.arange(width), np.arange(height)))
    around = to_grid.transform(*(grid.affine * (column, row)), direction="INVERSE")
    cells = np.unique(places.cells_at(*around))
    x, y = places.centres(cells)
    if grid.crs.proj.is_geographic:
        x = x + 360 * np.round((grid.affine.c + grid.affine.a * width / 2 - x) / 360)
    else:
        x, y = to_grid.transform(x, y)
    column, row = ~grid.affine * (x, y)
    inside = (row >= 0) & (row < height) & (column >= 0) & (column < width)
    return set(cells[inside].tolist())


@pytest.mark.parametrize(
    ("crs", "left", "top", "pixel"),
    [
        ("EPSG:32608", 500_000, 7_600_000, 30),  # UTM
        ("EPSG:3413", -3_000, 3_000, 30),  # about the north pole
        ("EPSG:3031", -1_000, 4_000, 30),  # beside the south pole
        ("EPSG:3413", -1_700_000, 1_700_000, 30),  # across the antimeridian
        ("EPSG:4326", 179.9, 68.0, 0.001),  # a scene that goes on beyond 180 E
        ("EPSG:3857", 2_000_000, 11_000_000, 90),  # whose metres are three to one on the ground
    ],
)
def test_every_place_of_a_scene_is_found_once_whatever_its_projection(crs, left, top, pixel):
    from affine import Affine

    grid = GeoBox((150, 210), Affine(pixel, 0, left, 0, -pixel, top), crs)
    places = PlaceGrid(320.0)

    whole = sites_within(grid, places, Window(0, 0, 210, 150))
    parts = [
        sites_within(grid, places, window)
        for window in (Window(0, 0, 210, 70), Window(0, 70, 90, 80), Window(90, 70, 120, 80))
    ]

    assert set(whole.cell.tolist()) == centred_in(grid, places)
    together = np.concatenate([part.cell for part in parts])
    assert sorted(together.tolist()) == whole.cell.tolist()


@pytest.mark.parametrize("side_px", [8, 21, 300])
def test_chips_are_cut_around_their_places_and_each_place_once(tmp_path, side_px):
    # Each pixel holds its own position, so a swapped axis or a shifted window is seen.
    height, width = 600, 200
    image = np.arange(height * width, dtype=np.float32).reshape(1, height, width) + 1
    path = write_raster(tmp_path / "a.tif", image, tiled=True, blockxsize=64, blockysize=64)
    scene = scene_of(path, bands=("red",))
    places = PlaceGrid(500.0)
    seen = []
    with open_scene(scene) as reader:
        whole = sites_within(reader.grid, places, Window(0, 0, width, height))
        (part,) = parts_of(reader)

        for strip in strips(reader, places, part, side_px):
            chosen = np.arange(len(strip.sites.cell))
            images, valid = chips_of(strip, side_px, chosen)
            for number, cell in enumerate(strip.sites.cell.tolist()):
                row = round(strip.sites.row[number] - side_px / 2)
                column = round(strip.sites.column[number] - side_px / 2)
                expected = reader.read(Window(column, row, side_px, side_px))
                np.testing.assert_array_equal(images[number], expected.image)
                np.testing.assert_array_equal(valid[number], expected.valid)
                seen.append(cell)

    assert sorted(seen) == whole.cell.tolist()
    assert len(seen) > 200


def test_every_block_of_a_scene_is_read_once(tmp_path, monkeypatch):
    image = np.ones((1, 1100, 90), dtype=np.float32)
    scene = scene_of(
        write_raster(tmp_path / "a.tif", image, tiled=True, blockxsize=64, blockysize=64),
        bands=("red",),
    )
    asked = []
    with open_scene(scene) as reader:
        read = reader.read
        monkeypatch.setattr(reader, "read", lambda window: asked.append(window) or read(window))

        list(strips(reader, PlaceGrid(), parts_of(reader)[0], 24))

    assert asked[0].row_off <= 0
    assert asked[-1].row_off + asked[-1].height >= 1100
    for upper, lower in pairwise(asked):
        assert upper.row_off + upper.height == lower.row_off
        assert lower.row_off % 64 == 0


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """A small classifier whose attention and embeddings are not all alike, calibrated."""
    rng = np.random.default_rng(3)
    spec = ClassifierSpec(
        encoder="resnet10t",
        input=FixedInput(bands=BANDS, mean=(100.0, 100.0), std=(50.0, 50.0)),
        target="thaw_slump",
        size_px=SIDE,
        width=24,
    )
    classifier = build_classifier(spec).eval()
    # As after a training: images differ, and some count much more than others.
    sharp = (classifier.dates.weigh, classifier.pixels.weigh, classifier.head)
    with torch.no_grad():
        # By numpy: releases of torch draw other numbers.
        for weight in classifier.parameters():
            if weight.ndim > 1:
                drawn = rng.normal(0, float(weight.std()), weight.shape)
                weight.copy_(torch.from_numpy(drawn))
        classifier.neck[0].weight *= 60
        for layer in sharp:
            layer.weight.copy_(torch.from_numpy(rng.normal(0, 3, layer.weight.shape)))
        classifier.head.bias.fill_(-7.0)  # some are positive
    labels = rng.random(400) < 0.5
    calibration = fit_calibration(rng.normal(size=400) + labels, labels)
    path = tmp_path_factory.mktemp("model") / "model.safetensors"
    record = {"calibration": calibration.to_dict(), "threshold": {"threshold": 0.4}}
    save_classifier(path, classifier, record)
    return path, classifier


def make_scenes(folder, count=3, hidden=0):
    """Scenes of one ground at several dates and of two sensors; the first rows may be hidden."""
    rng = np.random.default_rng(1)
    ground = rng.normal(100, 40, (2, 30, 40)).repeat(6, axis=1).repeat(6, axis=2)
    scenes = []
    for number in range(count):
        image = (ground + rng.normal(0, 30, ground.shape)).astype(np.float32)
        image[:, :hidden] = -1
        path = folder / f"{number}.tif"
        write_raster(path, image, nodata=-1, tiled=True, blockxsize=64, blockysize=64)
        start = datetime(2003 - 2 * number, 7, 1, tzinfo=UTC)
        scene = scene_of(path, sensor="landsat-7" if number != 1 else "landsat-5")
        scenes.append(replace(scene, start=start, end=start + timedelta(days=1)))
    return tuple(scenes)


def job_of(model, scenes, out, **changes):
    fields = {"spacing_m": 320.0, "chip_m": 30.0 * SIDE, "device": "cpu", "batch": 64}
    return EmbedJob(model=model[0], scenes=scenes, out=out, **{**fields, **changes})


def embed(model, scenes, out, **changes):
    return embed_scenes(job_of(model, scenes, out, **changes), engine=Engine())


def read_rows(folder):
    header = read_header(folder)
    groups = index_rows(folder, header.grid)
    blocks = sorted({group.block for group in groups})
    return header, [read_block([g for g in groups if g.block == b]) for b in blocks]


def results_of(folder):
    return pd.concat([gpd.read_parquet(p) for p in sorted(folder.glob("shard=*/part.parquet"))])


@pytest.fixture(scope="module")
def rows(model, tmp_path_factory):
    folder = tmp_path_factory.mktemp("rows")
    scenes = make_scenes(folder)
    embedded = embed(model, scenes, folder / "rows")
    return folder / "rows", scenes, embedded


def places_as_chips(scenes, grid):
    """The places that the network is shown, cut chip by chip."""
    images = {}
    for scene in sorted(scenes, key=lambda scene: scene.start):
        with open_scene(scene) as reader:
            height, width = reader.grid.shape
            sites = sites_within(reader.grid, grid, Window(0, 0, width, height))
            for cell, row, column in zip(*sites, strict=True):
                top, left = round(row - SIDE / 2), round(column - SIDE / 2)
                pixels = reader.read(Window(left, top, SIDE, SIDE))
                if pixels.valid.mean() < 0.5:
                    continue
                chip = Chip(
                    image=torch.from_numpy(pixels.image),
                    valid=torch.from_numpy(pixels.valid),
                    label=torch.full((SIDE, SIDE), 255, dtype=torch.uint8),
                    palette=torch.full((2, 1), torch.nan),
                    bands=bands_of(scene, BANDS),
                    gsd_m=30.0,
                    time=scene.start,
                    sensor_id=scene.sensor_id,
                )
                images.setdefault(int(cell), []).append(chip)
    return [
        Place(id=str(cell), lon=0.0, lat=0.0, images=tuple(chips), present=None)
        for cell, chips in images.items()
    ]


@torch.inference_mode()
def network_logits(classifier, places):
    batch = stack_places(places)
    found = classifier([b.view() for b in batch.batches], batch.owners, batch.size)
    return {place.id: float(x) for place, x in zip(places, found.places, strict=True)}


@pytest.mark.slow
def test_scores_of_rows_are_those_of_the_network_on_the_same_places(model, rows, tmp_path):
    """To 0.05 of a standard deviation of the logits: what a byte a number costs the attention."""
    folder, scenes, _ = rows

    score_rows(ScoreJob(rows=folder, model=model[0], out=tmp_path / "results"), engine=Engine())

    found = results_of(tmp_path / "results").set_index("chip_id")
    true = network_logits(model[1], places_as_chips(scenes, PlaceGrid()))
    assert set(found.index) == set(true)
    truth = np.array([true[cell] for cell in found.index])
    assert len(truth) > 250
    assert np.abs(found.logit - truth).max() < 0.05 * truth.std()
    # The mean of the images is another number: the attention is felt.
    mean = found.image_logits.map(np.mean)
    assert np.abs(mean - truth).max() > 0.5 * truth.std()


@pytest.mark.slow
def test_logits_of_single_images_are_those_of_the_network_without_any_rounding(model, rows):
    folder, scenes, _ = rows
    header, blocks = read_rows(folder)
    year = 2003
    at = [b.time.astype("datetime64[Y]").astype(int) + 1970 == year for b in blocks]

    found = {
        str(cell): logit
        for b, these in zip(blocks, at, strict=True)
        for cell, logit in zip(b.cell[these], b.logit[these], strict=True)
    }

    true = network_logits(model[1], places_as_chips(scenes[:1], header.grid))
    assert set(found) == set(true)
    np.testing.assert_allclose(
        [found[cell] for cell in true], list(true.values()), rtol=1e-4, atol=1e-4
    )


@given(seed=st.integers(0, 500))
@settings(max_examples=20, deadline=None)
def test_attention_over_rows_is_that_of_the_classifier(model, seed):
    """Exactly, on embeddings that a byte a number holds exactly."""
    rng = np.random.default_rng(seed)
    count, width = int(rng.integers(1, 40)), 24
    quantiser = Quantiser(
        scale=np.full(width, 0.01, np.float32), offset=rng.normal(size=width).astype(np.float32)
    )
    stored = rng.integers(-127, 128, (count, width)).astype(np.int8)
    cell = np.sort(rng.integers(0, 12, count)).astype(np.uint64)
    valid = rng.integers(1, 101, count).astype(np.uint8)
    classifier = model[1]
    embeddings = torch.from_numpy(quantiser.restore(stored))
    with torch.inference_mode():
        logits = classifier.head(embeddings).squeeze(-1)
        owner = torch.from_numpy(np.unique(cell, return_inverse=True)[1])
        seen = torch.from_numpy(valid / 100).float().log()
        size = int(owner.max()) + 1
        weights = _softmax_of_groups(classifier.dates(embeddings) + seen, owner, size)
        pooled = torch.zeros(size, width).index_add(0, owner, embeddings * weights[:, None])
        expected = classifier.head(pooled).squeeze(-1).numpy()
    block = BlockRows(
        cell=cell,
        time=np.zeros(count, dtype="datetime64[us]"),
        sensor=np.zeros(count, dtype=np.int32),
        valid=valid,
        logit=logits.numpy(),
        stored=stored,
        sensors=("landsat-7",),
    )

    found = RowScorer(classifier=classifier, quantiser=quantiser)(block)

    np.testing.assert_allclose(found.places, expected, rtol=1e-4, atol=1e-4)


def test_images_of_a_place_are_joined_in_the_order_of_time(model, rows, tmp_path):
    folder, _, embedded = rows

    scored = score_rows(
        ScoreJob(rows=folder, model=model[0], out=tmp_path / "results"), engine=Engine()
    )

    found = results_of(tmp_path / "results")
    assert scored.images == embedded.rows == found.n_images.sum()
    assert scored.places == len(found) == found.chip_id.nunique()
    assert (found.n_images == 3).all()
    first = found.iloc[0]
    assert np.floor(first.years).tolist() == [1999, 2001, 2003]
    assert list(first.sensors) == ["landsat-7", "landsat-5", "landsat-7"]
    assert first.start == pd.Timestamp("1999-07-01", tz="UTC")
    assert first.end == pd.Timestamp("2003-07-01", tz="UTC")
    assert found.crs.to_string() == "OGC:CRS84"
    assert found.geometry.x.tolist() == found.lon.tolist()
    cells = PlaceGrid().cells_at(found.lon.to_numpy(), found.lat.to_numpy())
    assert [str(cell) for cell in cells] == found.chip_id.tolist()


def test_an_image_with_too_little_valid_makes_no_row(model, tmp_path):
    scenes = make_scenes(tmp_path, count=1, hidden=90)

    embedded = embed(model, scenes, tmp_path / "rows")

    _, blocks = read_rows(tmp_path / "rows")
    valid = np.concatenate([block.valid for block in blocks])
    expected = places_as_chips(scenes, PlaceGrid())
    assert sorted(np.concatenate([b.cell for b in blocks]).tolist()) == sorted(
        int(place.id) for place in expected
    )
    assert embedded.without > 100
    assert 50 <= valid.min() < 100
    true = {place.id: place.images[0].valid.float().mean() for place in expected}
    for block in blocks:
        for cell, percent in zip(block.cell, block.valid, strict=True):
            assert abs(percent - 100 * true[str(cell)]) <= 0.51


@pytest.mark.slow
def test_scenes_are_added_to_rows_and_what_is_done_is_not_done_again(model, rows, tmp_path):
    folder, scenes, whole = rows
    out = tmp_path / "rows"
    embed(model, scenes, tmp_path / "all")

    first = embed(model, scenes[:2], out)
    (out / "rows.json").write_bytes((folder / "rows.json").read_bytes())
    again = embed(model, scenes, out)

    assert (first.skipped, again.skipped, again.units) == (0, 2, 3)
    assert again.rows == whole.rows
    # The file that both runs made with one header is the same to the byte.
    name = "rows/2-0.parquet"
    assert (out / name).read_bytes() == (folder / name).read_bytes()


def test_a_scene_that_cannot_be_read_is_passed_over_and_named(model, tmp_path):
    scenes = make_scenes(tmp_path, count=2)
    scenes[1].bands["red"].path.write_bytes(b"no raster")

    embedded = embed(model, scenes, tmp_path / "rows")

    assert embedded.units == 1
    assert [failure.name for failure in embedded.failed] == [scenes[1].id]
    assert "cannot be opened as a raster" in embedded.failed[0].error


def test_scenes_without_anything_valid_are_told_of(model, tmp_path):
    scenes = make_scenes(tmp_path, count=1, hidden=180)

    with pytest.raises(DataError, match="No scene shows anything valid"):
        embed(model, scenes, tmp_path / "rows")


def test_rows_of_another_grid_or_another_model_do_not_mix(model, rows, tmp_path):
    folder, scenes, _ = rows
    other = build_classifier(replace(model[1].spec, width=16))
    save_classifier(tmp_path / "other.safetensors", other, {})
    mixed = replace(job_of(model, scenes, folder), model=tmp_path / "other.safetensors")

    with pytest.raises(ConfigError, match=r"holds rows with --spacing-m 320, not 200; give that"):
        embed(model, scenes, folder, spacing_m=200.0)
    with pytest.raises(ConfigError, match="holds rows of another model"):
        embed_scenes(mixed, engine=Engine())
    with pytest.raises(ModelError, match="holds rows of another model"):
        score_rows(ScoreJob(rows=folder, model=mixed.model, out=tmp_path / "out"), engine=Engine())


def test_two_scenes_of_one_name_are_refused(model, tmp_path):
    scenes = make_scenes(tmp_path, count=1)

    with pytest.raises(ConfigError, match="Two scenes go to the file '0'"):
        embed(model, (scenes[0], scenes[0]), tmp_path / "rows")


def test_a_model_that_was_calibrated_later_scores_the_rows(model, rows, tmp_path):
    folder, _, _ = rows
    later = tmp_path / "later.safetensors"
    save_classifier(later, model[1], {})

    scored = score_rows(ScoreJob(rows=folder, model=later, out=tmp_path / "out"), engine=Engine())

    found = results_of(tmp_path / "out")
    assert not scored.calibrated
    np.testing.assert_allclose(found.probability, 1 / (1 + np.exp(-found.logit)), rtol=1e-5)
    assert (found.decision == (found.logit >= 0)).all()


def test_a_prevalence_changes_probabilities_and_no_decision(model, rows, tmp_path):
    job = ScoreJob(rows=rows[0], model=model[0], out=tmp_path / "plain")
    rare = replace(job, out=tmp_path / "rare", prevalence=1e-4)

    score_rows(job, engine=Engine())
    score_rows(rare, engine=Engine())

    plain, rare = results_of(tmp_path / "plain"), results_of(tmp_path / "rare")
    assert (plain.decision == rare.decision).all()
    assert plain.decision.any()
    assert not plain.decision.all()
    assert (plain.decision == (plain.probability >= 0.4)).all()
    told = json.loads((tmp_path / "rare" / "results.json").read_text())
    prior = told["calibration"]["pooled"]["prior"]
    odds, rarer = (p / (1 - p) for p in (plain.probability, rare.probability))
    sure = (odds > 1e-3) & (odds < 1e3)  # where a float32 tells odds from others
    np.testing.assert_allclose((rarer / odds)[sure], 1e-4 / (1 - 1e-4) * (1 - prior) / prior, 1e-3)


def test_a_prevalence_without_calibration_is_refused(model, rows, tmp_path):
    later = tmp_path / "later.safetensors"
    save_classifier(later, model[1], {})
    job = ScoreJob(rows=rows[0], model=later, out=tmp_path / "out", prevalence=1e-4)

    with pytest.raises(ModelError, match="is not calibrated, so a prevalence cannot correct it"):
        score_rows(job, engine=Engine())


def test_what_a_model_ships_is_told_of_scored_rows_as_of_a_pack(model, rows, tmp_path):
    shipped = {
        "threshold": {"threshold": 0.4, "n": 90, "recall": 0.9, "confidence": 0.95},
        "date_errors": {"separation": 4.0, "correlation": 0.5, "centre": 0.0, "scale": 1.0},
        "prevalence": 0.01,
    }
    taught = tmp_path / "model.safetensors"
    save_classifier(taught, model[1], {**load_classifier(model[0]).record, **shipped})
    out = tmp_path / "out"

    score_rows(ScoreJob(rows=rows[0], model=taught, out=out), engine=Engine())

    told = json.loads((out / "results.json").read_text())
    assert {key: told[key] for key in shipped} == shipped
    assert shipped_date_errors(out).correlation == 0.5
    assert read_about(out).rule.recall == 0.9
    assert (told["state"], told["shards"], told["shards_done"]) == ("done", 1, 1)


@pytest.mark.slow
def test_scores_are_not_put_beside_those_of_another_model_rows_or_prevalence(model, rows, tmp_path):
    folder, scenes, _ = rows
    out, other = tmp_path / "out", tmp_path / "other.safetensors"
    job = ScoreJob(rows=folder, model=model[0], out=out)
    score_rows(job, engine=Engine())
    before = {path: path.read_bytes() for path in out.glob("shard=*/*")}
    save_classifier(other, model[1], {})
    embed(model, scenes[:1], tmp_path / "rows")

    for changes, what in (
        ({"model": other}, "model"),
        ({"prevalence": 0.1}, r"prevalence \(none, not 0\.1\)"),
        ({"rows": tmp_path / "rows"}, "set of rows"),
    ):
        with pytest.raises(ConfigError, match=f"holds results of another {what}.*another folder"):
            score_rows(replace(job, **changes), engine=Engine())
    assert {path: path.read_bytes() for path in out.glob("shard=*/*")} == before


def test_scores_are_not_put_into_results_of_a_pack(model, rows, tmp_path):
    about = {"model": sha256_of(model[0]), "pack_digest": "abc", "prevalence": None}
    (tmp_path / "results.json").write_text(json.dumps(about))

    with pytest.raises(ConfigError, match=r"another pack \(abc, not none\); name another folder"):
        score_rows(ScoreJob(rows=rows[0], model=model[0], out=tmp_path), engine=Engine())
    assert [path.name for path in tmp_path.iterdir()] == ["results.json"]


@pytest.mark.slow
def test_a_rescoring_that_is_stopped_leaves_nothing_of_before_under_another_header(
    model, rows, tmp_path, monkeypatch
):
    """Of more scenes, when the first of several shards is done."""
    monkeypatch.setattr("geoseg.presence.rows.score._SHARD_ROWS", 1)
    monkeypatch.setattr("geoseg.presence.rows.store.BLOCK_CELLS", 8)
    folder, out = tmp_path / "rows", tmp_path / "out"
    job = ScoreJob(rows=folder, model=model[0], out=out)
    embed(model, rows[1][:1], folder)
    score_rows(job, engine=Engine())
    embed(model, rows[1], folder)

    with pytest.raises(KeyboardInterrupt):
        score_rows(job, engine=Engine(), on_done=interrupt)

    told = json.loads((out / "results.json").read_text())
    assert told["state"] == "running"
    assert results_of(out).n_images.tolist() == [3] * len(results_of(out))
    done = len(list(out.glob("shard=*/part.parquet")))
    assert unfinished(out).startswith(f"{done} of {told['shards']} shards are done")

    score_rows(job, engine=Engine())
    assert unfinished(out) is None
    assert (results_of(out).n_images == 3).all()


def interrupt(*_):
    raise KeyboardInterrupt


@pytest.mark.slow
def test_results_of_fewer_rows_leave_nothing_of_more(model, rows, tmp_path, monkeypatch):
    monkeypatch.setattr("geoseg.presence.rows.score._SHARD_ROWS", 1)
    monkeypatch.setattr("geoseg.presence.rows.store.BLOCK_CELLS", 8)
    embed(model, rows[1], tmp_path / "rows")
    job = ScoreJob(rows=tmp_path / "rows", model=model[0], out=tmp_path / "out")
    many = score_rows(job, engine=Engine())
    shards = len(list((tmp_path / "out").glob("shard=*/part.parquet")))
    monkeypatch.setattr("geoseg.presence.rows.score._SHARD_ROWS", 2**20)

    few = score_rows(job, engine=Engine())

    assert shards > 3
    assert few.places == many.places == len(results_of(tmp_path / "out"))


def test_a_head_fitted_to_labels_is_found_again_by_the_scores(model, rows, tmp_path):
    folder, _, _ = rows
    header, blocks = read_rows(folder)
    cell = np.concatenate([block.cell for block in blocks])
    restored = header.quantiser.restore(np.concatenate([block.stored for block in blocks]))
    places, inverse = np.unique(cell, return_inverse=True)
    mean = np.stack([restored[inverse == i].mean(axis=0) for i in range(len(places))])
    direction = np.random.default_rng(2).normal(size=mean.shape[1]) / mean.std(axis=0)
    truth = mean @ direction
    present = truth > np.quantile(truth, 0.7)
    labelled = np.arange(len(places)) % 2 == 0
    lon, lat = header.grid.centres(places)

    head = fit_head(read_labelled(folder, lon[labelled], lat[labelled], present[labelled]))
    save_head(tmp_path / "head.safetensors", head)
    again = load_head(tmp_path / "head.safetensors")
    job = ScoreJob(
        rows=folder, model=model[0], out=tmp_path / "out", head=tmp_path / "head.safetensors"
    )
    score_rows(job, engine=Engine())

    assert again.weight.tobytes() == head.weight.tobytes()
    assert again.record["average_precision"] > 0.75
    found = results_of(tmp_path / "out").set_index("chip_id").loc[[str(p) for p in places]]
    # By the mean of the images, as labels are, not by the attention of another task.
    logits = found.image_logits.map(np.mean).to_numpy()
    right = ((logits >= 0) == present)[~labelled].mean()
    assert right > 0.85


def test_a_head_of_another_model_is_refused(model, rows, tmp_path):
    head = tmp_path / "head.safetensors"
    lon, lat = PlaceGrid().centres(np.concatenate([b.cell for b in read_rows(rows[0])[1]]))
    fitted = fit_head(read_labelled(rows[0], lon, lat, lon > np.median(lon)))
    save_head(head, replace(fitted, embedder_sha256="0" * 64))
    job = ScoreJob(rows=rows[0], model=model[0], out=tmp_path / "out", head=head)

    with pytest.raises(ModelError, match="was fitted to rows of another model"):
        score_rows(job, engine=Engine())


def test_labels_where_nothing_was_embedded_make_no_head(rows):
    with pytest.raises(LabelError, match=r"No row of .* lies at a label"):
        read_labelled(rows[0], *one(10.0, 10.0), np.array([True]))


def test_a_head_is_not_saved_over_a_model(model, rows, tmp_path):
    lon, lat = PlaceGrid().centres(np.concatenate([b.cell for b in read_rows(rows[0])[1]]))
    fitted = fit_head(read_labelled(rows[0], lon, lat, lon > np.median(lon)))
    taken = tmp_path / "model.safetensors"
    taken.write_bytes(model[0].read_bytes())

    with pytest.raises(ConfigError, match="is there and no head; name another file"):
        save_head(taken, fitted)

    assert taken.read_bytes() == model[0].read_bytes()


def test_a_head_needs_places_of_both_kinds(rows):
    header, blocks = read_rows(rows[0])
    lon, lat = header.grid.centres(blocks[0].cell)

    with pytest.raises(LabelError, match="there are 0 with and"):
        fit_head(read_labelled(rows[0], lon, lat, np.zeros(len(lon), dtype=bool)))


def test_a_folder_without_rows_is_told_of(tmp_path):
    with pytest.raises(DataError, match="holds no rows; make them with `geoseg presence embed`"):
        read_header(tmp_path)


def test_a_chip_of_too_few_pixels_is_refused(model, tmp_path):
    embedder = Embedder(model[1], torch.device("cpu"))
    scene = make_scenes(tmp_path, count=1)[0]
    with open_input(embedder.spec.input, scene) as reader:
        assert SceneView.of(reader, embedder.spec.input, embedder.device).gsd_m.item() == 30

    with pytest.raises(DataError, match="give --chip-m of at least 240 m"):
        embed(model, (scene,), tmp_path / "rows", chip_m=90.0)
