import tracemalloc
from dataclasses import replace

import numpy as np
import pytest
import rasterio
from affine import Affine
from cogs import faults_of_cog
from conftest import write_raster
from hypothesis import given, settings
from hypothesis import strategies as st
from odc.geo.geobox import GeoBox
from pyproj import CRS, Transformer
from rasterio.windows import Window
from scipy.ndimage import gaussian_filter

from geoseg.config import OutlineSettings
from geoseg.data.simulate import make_landscape, surface
from geoseg.data.simulate.surface import CLEAN_ICE, DEBRIS_ICE, GROUND, LAKE, POND, SLUMP
from geoseg.errors import ConfigError, GridError, SceneError
from geoseg.files import read_checksums, require_intact, sha256_of
from geoseg.grids import raster_grid
from geoseg.inference import Prediction, read_origin
from geoseg.inference.maps import describe_classes
from geoseg.inventory.consistency import MapOfSurvey, filled_path, write_consistent
from geoseg.inventory.consistency import smooth as consistency
from geoseg.inventory.consistency.transitions import (
    Transitions,
    evidence_of_chances,
    evidence_of_classes,
    smooth_classes,
    transitions_of,
)
from geoseg.labels import GLACIER, GLACIER_SURFACE, IGNORE, ClassScheme
from geoseg.vectorize import outline_scene

YEARS = np.array([1975.5, 1990.6, 2009.7, 2016.6, 2025.7])
CLASSES = len(GLACIER_SURFACE.classes)
SHAPE = (3, 5)

gaps = st.lists(st.floats(0.1, 50), min_size=1, max_size=6)


def after(gaps):
    return 1960 + np.concatenate([[0], np.cumsum(gaps)])


def random_rules(count, seed, *, symmetric=False):
    rng = np.random.default_rng(seed)
    rates = rng.uniform(0.001, 0.2, (count, count))
    if symmetric:
        rates = rates + rates.T
    np.fill_diagonal(rates, 0)
    np.fill_diagonal(rates, -rates.sum(axis=1))
    prior = np.full(count, 1 / count) if symmetric else rng.dirichlet(np.ones(count))
    return Transitions(rates=rates, prior=prior)


def random_evidence(dates, count, seed):
    rng = np.random.default_rng(seed)
    return rng.uniform(0.01, 1, (dates, count, *SHAPE)).astype(np.float32)


def by_enumeration(evidence, years, rules):
    """Marginals (T, K) of one pixel, summed over every path through the classes."""
    dates, count = evidence.shape
    steps = [rules.over(gap) for gap in np.diff(years)]
    found = np.zeros((dates, count))
    for path in np.ndindex(*[count] * dates):
        chance = rules.prior[path[0]] * evidence[0, path[0]]
        for date in range(1, dates):
            chance *= steps[date - 1][path[date - 1], path[date]] * evidence[date, path[date]]
        found[np.arange(dates), path] += chance
    return found / found.sum(axis=1, keepdims=True)


@settings(deadline=None, max_examples=25)
@given(gaps=st.lists(st.floats(0.1, 50), min_size=1, max_size=3), seed=st.integers(0, 2**31))
def test_marginals_are_the_sums_over_all_paths(gaps, seed):
    rules, years = random_rules(3, seed), after(gaps)
    evidence = random_evidence(len(years), 3, seed)

    found = smooth_classes(evidence, years, rules)

    for row, column in np.ndindex(*SHAPE):
        expected = by_enumeration(evidence[:, :, row, column].astype(float), years, rules)
        np.testing.assert_allclose(found[:, :, row, column], expected, rtol=2e-4, atol=1e-6)


@settings(deadline=None, max_examples=40)
@given(gaps=gaps, seed=st.integers(0, 2**31), level=st.sampled_from([0.0, 1e-6, 1.0, 7.0]))
def test_without_evidence_the_prior_is_carried_through_time(gaps, seed, level):
    rules, years = random_rules(4, seed), after(gaps)
    evidence = np.full((len(years), 4, *SHAPE), level, dtype=np.float32)

    found = smooth_classes(evidence, years, rules)

    np.testing.assert_allclose(found[0, :, 1, 2], rules.prior, atol=1e-5)
    expected = rules.prior @ rules.over(years[-1] - years[0])
    np.testing.assert_allclose(found[-1, :, 1, 2], expected, atol=1e-5)


@settings(deadline=None, max_examples=40)
@given(gaps=gaps, seed=st.integers(0, 2**31))
def test_time_reversed_gives_the_mirrored_result_where_changes_go_both_ways_alike(gaps, seed):
    rules, years = random_rules(4, seed, symmetric=True), after(gaps)
    evidence = random_evidence(len(years), 4, seed)

    forward = smooth_classes(evidence, years, rules)
    backward = smooth_classes(evidence[::-1], -years[::-1], rules)

    np.testing.assert_allclose(backward[::-1], forward, atol=1e-5)


@settings(deadline=None, max_examples=60)
@given(gaps=gaps, seed=st.integers(0, 2**31))
def test_what_all_dates_of_sixty_years_agree_on_stays(gaps, seed):
    years = 1962 + 65 * (after(gaps) - 1960) / sum(gaps)
    shares = np.random.default_rng(seed).dirichlet(np.full(CLASSES, 0.3))
    classes = np.broadcast_to(np.arange(CLASSES, dtype=np.uint8), (3, CLASSES))
    evidence = np.stack([evidence_of_classes(classes, CLASSES)] * len(years))

    found = smooth_classes(evidence, years, transitions_of(GLACIER_SURFACE, shares))

    for date in found.argmax(axis=1):
        np.testing.assert_array_equal(date, classes)


@pytest.mark.parametrize("scheme", [GLACIER, GLACIER_SURFACE, ClassScheme.of({"reef": "#000000"})])
@settings(deadline=None, max_examples=60)
@given(seed=st.integers(0, 2**31))
def test_a_single_map_stays_as_it_is(scheme, seed):
    rng = np.random.default_rng(seed)
    count = len(scheme.classes)
    rules = transitions_of(scheme, rng.dirichlet(np.full(count, 0.2)))
    chance = rng.dirichlet(np.ones(count), (4, 7)).transpose(2, 0, 1).astype(np.float32)
    classes = chance.argmax(axis=0).astype(np.uint8)
    known = np.ones((4, 7), dtype=bool)

    for evidence in (
        evidence_of_chances(chance, known, rules),
        evidence_of_classes(classes, count),
    ):
        found = smooth_classes(evidence[None], np.array([2000.0]), rules)[0]

        np.testing.assert_array_equal(found.argmax(axis=0), classes)


def test_a_longer_gap_makes_a_change_more_likely():
    rules = transitions_of(GLACIER_SURFACE)
    classes = np.array([[CLEAN_ICE, DEBRIS_ICE, GROUND, GROUND]], dtype=np.uint8)
    later = np.array([[GROUND, LAKE, SLUMP, LAKE]], dtype=np.uint8)
    evidence = np.stack([evidence_of_classes(c, CLASSES) for c in (classes, later)])

    chances = [
        np.take_along_axis(
            smooth_classes(evidence, np.array([2000, 2000 + gap]), rules)[1], later[None], axis=0
        )
        for gap in (0, 0.5, 2, 8, 20)
    ]

    assert (np.diff(chances, axis=0) > 0).all()


def test_what_lies_under_invalid_ground_does_not_matter():
    rules = transitions_of(GLACIER_SURFACE)
    rng = np.random.default_rng(4)
    known = rng.random(SHAPE) < 0.5
    chance = rng.dirichlet(np.ones(CLASSES), (2, *SHAPE)).transpose(0, 3, 1, 2).astype(np.float32)
    other = np.where(known, chance[1], rng.random(SHAPE)).astype(np.float32)

    one, two = (evidence_of_chances(c, known, rules) for c in (chance[1], other))

    np.testing.assert_array_equal(one, two)
    assert (one[:, ~known] == 1).all()
    unseen = evidence_of_classes(np.full(SHAPE, IGNORE, dtype=np.uint8), CLASSES)
    first = evidence_of_chances(chance[0], np.ones_like(known), rules)
    found = smooth_classes(np.stack([first, unseen]), np.array([2000.0, 2010.0]), rules)
    alone = smooth_classes(first[None], np.array([2000.0]), rules)
    np.testing.assert_allclose(found[0], alone[0], atol=1e-6)


def test_a_confident_wrong_date_does_not_veto_what_its_neighbours_say():
    rules = transitions_of(GLACIER_SURFACE)
    chance = np.full((5, CLASSES, 1, 1), 0.001, dtype=np.float32)
    chance[:, CLEAN_ICE] = 0.994
    chance[2] = 0
    chance[2, LAKE] = 1
    known = np.ones((1, 1), dtype=bool)

    found = smooth_classes(
        np.stack([evidence_of_chances(c, known, rules) for c in chance]), YEARS, rules
    )

    assert (found.argmax(axis=1) == CLEAN_ICE).all()


def test_evidence_against_all_that_can_be_leaves_finite_probabilities():
    """Nothing ever changes, ten dates say one class for certain, and ten the other."""
    rules = Transitions(rates=np.zeros((2, 2)), prior=np.array([0.5, 0.5]))
    evidence = np.zeros((20, 2, 1, 1), dtype=np.float32)
    evidence[:10, 0] = evidence[10:, 1] = 1

    found = smooth_classes(evidence, np.arange(20.0), rules)

    np.testing.assert_allclose(found.sum(axis=1), 1, atol=1e-6)
    assert np.isfinite(found).all()


def test_dwell_times_are_those_of_ice_lakes_and_ponds():
    rates = transitions_of(GLACIER_SURFACE).rates
    dwell = dict(zip(GLACIER_SURFACE.names, -1 / np.diag(rates), strict=True))

    assert dwell["supraglacial_lake"] < 5 < dwell["clean_ice"] < dwell["proglacial_lake"]
    assert rates[CLEAN_ICE, GROUND] > 5 * rates[GROUND, CLEAN_ICE]
    assert rates[DEBRIS_ICE, POND] > rates[CLEAN_ICE, POND]
    unknown = transitions_of(ClassScheme.of({"reef": "#000000", "sand": "#ffffff"})).rates
    assert (unknown[~np.eye(3, dtype=bool)] == unknown[0, 1]).all()


@pytest.mark.parametrize(
    ("rates", "prior", "words"),
    [
        (np.zeros((2, 3)), [0.5, 0.5], "a rate for each pair"),
        ([[-1, 1], [1, 1]], [0.5, 0.5], "adds up to 0"),
        ([[1, -1], [0, 0]], [0.5, 0.5], "0 or more"),
        ([[-1, 1], [1, -1]], [0.5, 0.6], "add up to 1"),
        ([[-1, 1], [1, -1]], [1.0, 0.0], "above 0"),
    ],
)
def test_rules_that_are_no_chain_are_refused(rates, prior, words):
    with pytest.raises(ConfigError, match=words):
        Transitions(rates=np.asarray(rates, dtype=float), prior=np.array(prior))


@pytest.mark.parametrize(
    ("years", "level", "count", "words"),
    [
        ([2000.0], 1.0, 2, "does not fit 1 years"),
        ([2000.0, 1990.0], 1.0, 2, "run backward"),
        ([1990.0, 2000.0], -1.0, 2, "0 or more"),
        ([1990.0, 2000.0], np.nan, 2, "never NaN"),
        ([1990.0, 2000.0], 1.0, 3, "transitions of 3 classes"),
    ],
)
def test_evidence_that_does_not_fit_is_refused(years, level, count, words):
    evidence = np.full((2, 2, *SHAPE), level, dtype=np.float32)

    with pytest.raises(ConfigError, match=words):
        smooth_classes(evidence, np.array(years), random_rules(count, 0))


# A simulated landscape: maps that flicker, and what is left of it.


def flickering(truth, seed):
    """Maps of which 12 % is some other class and 10 % unseen, in blobs that differ by date."""
    rng = np.random.default_rng(seed)
    maps = truth.copy()
    for one in maps:
        other = gaussian_filter(rng.standard_normal((CLASSES, *one.shape)), (0, 8, 8)).argmax(0)
        other = np.where(other == one, (other + 1) % CLASSES, other)
        wrong = blobs(one.shape, 4, 0.12, rng)
        one[wrong] = other[wrong]
        one[blobs(one.shape, 12, 0.10, rng)] = IGNORE
    return maps


def blobs(shape, reach_px, share, rng):
    noise = gaussian_filter(rng.standard_normal(shape), reach_px)
    return noise > np.quantile(noise, 1 - share)


def mean_iou(maps, truth, where):
    """Mean over dates and over the classes that are there."""
    found = []
    for one, true, here in zip(maps, truth, where, strict=True):
        for k in np.unique(true):
            union = ((one == k) | (true == k)) & here
            found.append(((one == k) & (true == k) & here).sum() / max(union.sum(), 1))
    return np.mean(found)


@pytest.fixture(scope="module")
def landscape():
    place = make_landscape(seed=1, size_m=3600)
    truth = np.stack([surface(place, int(year)).classes for year in YEARS])[:, 40:, :]
    maps = flickering(truth, seed=1)
    shares = np.bincount(maps[maps != IGNORE], minlength=CLASSES)
    rules = transitions_of(GLACIER_SURFACE, shares)
    evidence = np.stack([evidence_of_classes(one, CLASSES) for one in maps])
    smoothed = smooth_classes(evidence, YEARS, rules).argmax(axis=1)
    return truth, maps, smoothed


@pytest.mark.slow
def test_the_filter_is_nearer_to_the_truth_than_single_dates(landscape):
    truth, maps, smoothed = landscape
    seen = maps != IGNORE

    single, many = mean_iou(maps, truth, seen), mean_iou(smoothed, truth, seen)

    # 0.44 and 0.66 when this was written.
    assert many > single + 0.15
    wrong = [(one != truth)[seen].mean() for one in (maps, smoothed)]
    assert wrong[1] < wrong[0] / 3


@pytest.mark.slow
def test_what_a_date_did_not_see_is_filled_nearly_as_well_as_what_it_saw(landscape):
    truth, maps, smoothed = landscape
    unseen = maps == IGNORE

    assert (smoothed == truth)[unseen].mean() > 0.93


@pytest.mark.parametrize(
    ("date", "became", "kept"),
    [(2, GROUND, 0.85), (4, GROUND, 0.75), (2, LAKE, 0.85), (4, LAKE, 0.7), (4, SLUMP, 0.75)],
)
@pytest.mark.slow
def test_retreat_new_lakes_and_new_scars_are_mostly_kept(landscape, date, became, kept):
    truth, maps, smoothed = landscape
    new = (truth[date] == became) & (truth[date - 1] != became) & (maps[date] != IGNORE)

    assert new.sum() > 500
    assert (smoothed[date] == became)[new].mean() > kept


# Maps on disk.

LAKES = ClassScheme.of({"glacier": "#4aa8d8", "lake": "#1f4fd8"})
EAST, NORTH = 500_000, 3_100_000


def write_survey(folder, year, classes, stored=None, *, scheme=LAKES, tags=None, **place):
    """A map as `predict_scene` writes it, of an August day."""
    folder.mkdir(parents=True)
    prediction = Prediction(
        classes=folder / "classes.tif",
        probability=None if stored is None else folder / "probability.tif",
    )
    said = {
        "scene": f"scene-{year}",
        "sensor": "landsat-7",
        "start": f"{year}-08-01T00:00:00+00:00",
        "end": f"{year}-08-02T00:00:00+00:00",
        "model": "abc",
        "job": "1234",
        **(tags or {}),
    }
    write_raster(prediction.classes, np.asarray(classes, np.uint8), nodata=IGNORE, **place)
    with rasterio.open(prediction.classes, "r+") as raster:
        describe_classes(raster, scheme, said)
    if stored is not None:
        write_raster(prediction.probability, np.asarray(stored), nodata=IGNORE, **place)
    return MapOfSurvey(prediction=prediction, year=year + 0.58, name=str(year))


def random_survey(folder, year, shape, *, seed, **place):
    """Probabilities that agree roughly from date to date, with a tenth of the ground unseen."""
    ground = gaussian_filter(np.random.default_rng(0).standard_normal((3, *shape)), (0, 6, 6))
    rng = np.random.default_rng(seed)
    mixed = 40 * ground + rng.standard_normal(ground.shape)
    chance = np.exp(mixed) / np.exp(mixed).sum(axis=0)
    stored = np.rint(chance * 250).astype(np.uint8)
    stored[:, blobs(shape, 5, 0.1, rng)] = IGNORE
    classes = np.where(stored[0] == IGNORE, IGNORE, stored.argmax(axis=0))
    return write_survey(folder, year, classes, stored, **place)


def places(folder, maps):
    return [
        Prediction(
            classes=folder / one.name / "classes.tif",
            probability=one.prediction.probability and folder / one.name / "probability.tif",
        )
        for one in maps
    ]


def read(path):
    with rasterio.open(path) as raster:
        return raster.read()


def by_array(maps, rules):
    """What the filter makes of maps on one grid, without files."""
    evidence, known = [], []
    for one in maps:
        stored = read(one.prediction.probability)
        known.append(stored[0] != IGNORE)
        chance = stored.astype(np.float32) / 250
        evidence.append(evidence_of_chances(chance, known[-1], rules))
    years = np.array([one.year for one in maps])
    return smooth_classes(np.stack(evidence), years, rules), np.stack(known)


@pytest.fixture
def three(tmp_path):
    """Not in the order of their years; with a corner that none saw."""
    maps = [
        random_survey(tmp_path / "raw" / str(year), year, (70, 110), seed=year)
        for year in (2009, 1988, 2020)
    ]
    for one in maps:
        for path in one.prediction.paths:
            with rasterio.open(path, "r+") as raster:
                raster.write(np.full((raster.count, 9, 12), IGNORE, np.uint8), window=CORNER)
    return maps


CORNER = Window(0, 0, 12, 9)


@pytest.mark.parametrize(("block_px", "values"), [(512, 2**22), (37, 5000)])
def test_maps_on_disk_are_those_of_the_arrays(tmp_path, three, monkeypatch, block_px, values):
    monkeypatch.setattr(consistency, "BLOCK_PX", block_px)
    monkeypatch.setattr(consistency, "_VALUES", values)
    rules = transitions_of(LAKES, [5, 3, 1])

    written = write_consistent(three, places(tmp_path / "out", three), rules=rules)

    order = [1, 0, 2]
    files = [*written[0].paths, filled_path(written[0])]
    assert [faults_of_cog(path) for path in files] == [[], [], []]
    chance, known = by_array([three[i] for i in order], rules)
    seen = known.any(axis=0)
    assert not seen[:9, :12].any()
    for date, i in enumerate(order):
        classes, stored = read(written[i].classes)[0], read(written[i].probability)
        # What the date says itself stands where the others do not refute it by nine to one.
        raw, best = read(three[i].prediction.classes)[0], chance[date].argmax(axis=0)
        own = known[date] & ((best == raw) | (chance[date].max(axis=0) < 0.9))
        assert (own & (best != raw)).any()
        assert (seen & ~own).any()
        np.testing.assert_array_equal(classes[seen], np.where(own, raw, best)[seen])
        itself = read(three[i].prediction.probability)
        expected = np.where(own, itself, 250 * chance[date])
        np.testing.assert_allclose(stored[:, seen], expected[:, seen], atol=0.51)
        assert (classes[~seen] == IGNORE).all()
        assert (stored[:, ~seen] == IGNORE).all()
        np.testing.assert_array_equal(read(filled_path(written[i]))[0], ~known[date])


def test_results_say_what_the_raw_maps_said_and_that_they_were_filtered(tmp_path, three):
    [written, *_] = write_consistent(three, places(tmp_path / "out", three))

    origin = read_origin(written.classes)
    assert (origin.id, origin.sensor_id, origin.start.year) == ("scene-2009", "landsat-7", 2009)
    assert origin.scheme == LAKES
    for path in (*written.paths, filled_path(written)):
        with rasterio.open(path) as raster:
            assert raster.tags()["filtered"] == "hmm"
            assert raster.tags()["model"] == "abc"
            # The settings and the network do not make this map: no rerun may take it for theirs.
            assert "job" not in raster.tags()
            assert raster.tags(ns="IMAGE_STRUCTURE")["LAYOUT"] == "COG"
        assert read_checksums(path)[path.name] == sha256_of(path)
    with rasterio.open(filled_path(written)) as raster:
        assert raster.nodata is None
    with rasterio.open(written.probability) as raster:
        assert raster.descriptions == LAKES.names
        assert raster.scales == pytest.approx([1 / 250] * 3)


def test_outlines_of_a_result_are_dated_as_the_survey(tmp_path, three):
    [written, *_] = write_consistent(three, places(tmp_path / "out", three))

    outlines = outline_scene(
        written.classes,
        written.probability,
        scene=read_origin(written.classes),
        scheme=LAKES,
        settings=OutlineSettings(min_area_m2=5000, min_hole_m2=0),
    )

    assert len(outlines) > 0
    assert {str(day) for day in outlines["src_date"]} == {"2009-08-01"}
    assert outlines["probability"].between(0.3, 1).all()


def test_raw_maps_stay_as_they_were(tmp_path, three):
    before = {p: sha256_of(p) for one in three for p in one.prediction.paths}

    write_consistent(three, places(tmp_path / "out", three))

    assert {p: sha256_of(p) for p in before} == before
    assert {p.name for p in (tmp_path / "raw" / "2009").iterdir()} == {
        "classes.tif",
        "probability.tif",
    }


def test_a_map_alone_is_copied(tmp_path, three):
    [written] = write_consistent(three[:1], places(tmp_path / "out", three[:1]))

    raw = three[0].prediction
    np.testing.assert_array_equal(read(written.classes), read(raw.classes))


def test_maps_without_probabilities_are_filtered_by_their_classes(tmp_path):
    steady = np.ones((20, 30), np.uint8)
    blunder = steady.copy()
    blunder[4:9, 10:25] = 2
    unseen = steady.copy()
    unseen[:, 20:] = IGNORE
    maps = [
        write_survey(tmp_path / "raw" / str(year), year, classes)
        for year, classes in ((1990, steady), (2000, blunder), (2005, steady), (2010, unseen))
    ]

    written = write_consistent(maps, places(tmp_path / "out", maps))

    for one in written:
        assert one.probability is None
        assert (read(one.classes) == 1).all()
    assert (read(filled_path(written[3]))[0] == (unseen == IGNORE)).all()


def test_film_landsat_and_sentinel_come_onto_the_pixels_of_the_finest(tmp_path):
    """A square of ice of 240 m, seen at 5, 30 and 10 m; the film does not reach as far north."""

    def ice(gsd_m, rows_m, columns_m):
        y, x = (np.arange(gsd_m / 2, side, gsd_m) for side in (rows_m, columns_m))
        return ((abs(y - 300) < 120)[:, None] & (abs(x - 420) < 120)).astype(np.uint8)

    film = ice(5, 600, 900)[24:]
    maps = [
        write_survey(tmp_path / "raw" / "film", 1975, film, origin=(EAST, NORTH - 120), pixel=5),
        write_survey(
            tmp_path / "raw" / "landsat", 1990, ice(30, 600, 900), origin=(EAST, NORTH), pixel=30
        ),
        write_survey(
            tmp_path / "raw" / "sentinel", 2016, ice(10, 600, 900), origin=(EAST, NORTH), pixel=10
        ),
    ]

    written = write_consistent(maps, places(tmp_path / "out", maps))

    for one in written:
        with rasterio.open(one.classes) as raster:
            grid = raster_grid(raster)
        assert grid.affine == Affine(5, 0, EAST, 0, -5, NORTH)
        np.testing.assert_array_equal(read(one.classes)[0], ice(5, 600, 900))
    np.testing.assert_array_equal(read(filled_path(written[0]))[0, :, 7], np.arange(120) < 24)


def test_probabilities_of_coarser_pixels_are_bilinear_and_end_with_their_classes(tmp_path):
    """Next to a hole, what is known must be a mean of known pixels: 255 is no probability."""
    column = np.array([40, 80, 120, 160, 200, 240], np.uint8)
    stored = np.stack([np.tile(250 - column, (4, 1)), np.tile(column, (4, 1))])
    stored[:, :, 3] = IGNORE
    classes = np.where(stored[0] == IGNORE, IGNORE, stored.argmax(axis=0))
    coarse = write_survey(tmp_path / "raw" / "a", 2000, classes, stored, scheme=GLACIER, pixel=30)
    rules = Transitions(rates=np.zeros((2, 2)), prior=np.array([0.5, 0.5]))
    grid = GeoBox((24, 36), Affine(5, 0, EAST, 0, -5, NORTH), "EPSG:32645")

    [written] = write_consistent(
        [coarse], places(tmp_path / "out", [coarse]), rules=rules, grid=grid
    )

    found = read(written.probability)[1, 10]
    known = np.ones(36, bool)
    known[18:24] = False
    centres = (np.arange(36) + 0.5) / 6 - 0.5
    expected = np.interp(centres[:15], np.arange(6), column)
    np.testing.assert_allclose(found[:15], expected, atol=1.6)
    assert (found[~known] == IGNORE).all()
    assert (found[15:18] == 120).all()
    assert (found[24:27] == 200).all()


def test_probabilities_of_finer_pixels_are_averaged(tmp_path):
    rng = np.random.default_rng(3)
    own = rng.integers(30, 220, (12, 18)).astype(np.uint8)
    stored = np.stack([250 - own, own])
    fine = write_survey(
        tmp_path / "raw" / "a", 2000, stored.argmax(axis=0), stored, scheme=GLACIER, pixel=10
    )
    rules = Transitions(rates=np.zeros((2, 2)), prior=np.array([0.5, 0.5]))
    grid = GeoBox((4, 6), Affine(30, 0, EAST, 0, -30, NORTH), "EPSG:32645")

    [written] = write_consistent([fine], places(tmp_path / "out", [fine]), rules=rules, grid=grid)

    means = own.reshape(4, 3, 6, 3).mean(axis=(1, 3))
    np.testing.assert_allclose(read(written.probability)[1], means, atol=1.1)


@pytest.mark.parametrize("crs", ["EPSG:3413", "EPSG:32644"])
def test_maps_in_other_reference_systems_are_brought_to_the_ground_they_show(tmp_path, crs):
    """A lake of 300 m at 84.0 E, 70.2 N, which two surveys saw in their own projections."""
    north = CRS.from_epsg(32645)
    lake = np.array(Transformer.from_crs(4326, north, always_xy=True).transform(84.0, 70.2))

    def survey(name, year, crs):
        x, y = Transformer.from_crs(north, crs, always_xy=True).transform(*lake)
        row, column = (np.arange(60) - 29.5) * 20, (np.arange(80) - 39.5) * 20
        disc = np.hypot(row[:, None], column) < 150
        return write_survey(
            tmp_path / "raw" / name,
            year,
            2 * disc,
            crs=crs,
            origin=(x - 800, y + 600),
            pixel=20,
        )

    maps = [survey("a", 2000, north.to_wkt()), survey("b", 2010, crs)]
    with rasterio.open(maps[0].prediction.classes) as raster:
        grid = raster_grid(raster)
    with pytest.raises(GridError, match="different reference systems"):
        write_consistent(maps, places(tmp_path / "out", maps))

    written = write_consistent(maps, places(tmp_path / "out", maps), grid=grid)

    one, two = (read(prediction.classes)[0] == 2 for prediction in written)
    centre = [np.argwhere(found).mean(axis=0) for found in (one, two)]
    np.testing.assert_allclose(centre[0], centre[1], atol=0.5)


def test_results_never_replace_a_map(tmp_path, three):
    raw = [one.prediction for one in three]
    free = places(tmp_path / "out", three)
    link = tmp_path / "link"
    link.symlink_to(tmp_path / "raw")

    for out in (
        [raw[0], *free[1:]],
        [free[0], raw[0], free[2]],
        [*free[:2], Prediction(classes=link / "2009" / "other.tif")],
        [free[0], free[0], free[2]],
    ):
        with pytest.raises(ConfigError, match="write each to a folder of its own"):
            write_consistent(three, out)
    by_link = replace(three[0], prediction=Prediction(classes=link / "2009" / "classes.tif"))
    with pytest.raises(ConfigError, match="write each to a folder of its own"):
        write_consistent([by_link], [raw[0]])
    with pytest.raises(ConfigError, match="3 maps and 2 places"):
        write_consistent(three, free[:2])
    with pytest.raises(ConfigError, match="at least one map"):
        write_consistent([], [])
    assert not (tmp_path / "out").exists()


def test_a_failure_leaves_earlier_results_whole(tmp_path, three):
    out = places(tmp_path / "out", three)
    written = write_consistent(three, out)
    paths = [p for one in written for p in (*one.paths, filled_path(one))]
    before = [sha256_of(path) for path in paths]
    with rasterio.open(three[2].prediction.classes, "r+") as raster:
        raster.write(np.full((1, 5, 5), 7, np.uint8), window=Window(90, 60, 5, 5))

    with pytest.raises(SceneError, match=r"2020.*holds a class 7 and names 3"):
        write_consistent(three, out)

    assert [sha256_of(path) for path in paths] == before
    require_intact(paths)
    assert sorted(p.name for p in (tmp_path / "out" / "2020").iterdir()) == [
        "SHA256SUMS",
        "classes.tif",
        "filled.tif",
        "probability.tif",
    ]


def test_maps_that_do_not_belong_together_are_refused(tmp_path, three):
    glacier = write_survey(tmp_path / "raw" / "g", 2000, np.ones((5, 8)), scheme=GLACIER)
    two = np.zeros((2, 5, 8), np.uint8)
    bands = write_survey(tmp_path / "raw" / "b", 2001, np.ones((5, 8)), two)
    pixels = write_survey(tmp_path / "raw" / "p", 2002, np.ones((5, 8)), np.zeros((3, 5, 8), "u1"))
    with rasterio.open(pixels.prediction.probability, "r+") as raster:
        raster.transform = Affine(10, 0, EAST, 0, -10, NORTH)

    for one, error, words in (
        (glacier, SceneError, "map all surveys with the same classes"),
        (bands, SceneError, "2 bands for 3 classes"),
        (pixels, GridError, "not on the same pixels"),
    ):
        maps = [three[0], one]
        with pytest.raises(error, match=words):
            write_consistent(maps, places(tmp_path / "out", maps))
    with pytest.raises(ConfigError, match="rules are of 2 classes and the maps of 3"):
        write_consistent(three, places(tmp_path / "out", three), rules=transitions_of(GLACIER))


def test_strips_are_told_of(tmp_path, three, monkeypatch):
    monkeypatch.setattr(consistency, "BLOCK_PX", 32)
    told = []

    write_consistent(
        three, places(tmp_path / "out", three), on_strip=lambda *done: told.append(done)
    )

    assert told == [(1, 3), (2, 3), (3, 3)]


@pytest.mark.slow
def test_memory_does_not_grow_with_the_ground(tmp_path):
    peaks = []
    for side in (600, 2400):
        classes = np.zeros((side, side + 50), np.uint8)
        classes[100:400, 30:500] = 1
        maps = [
            write_survey(tmp_path / f"raw{side}" / str(year), year, classes, tiled=True)
            for year in (1990, 2000)
        ]
        tracemalloc.start()
        write_consistent(maps, places(tmp_path / f"out{side}", maps))
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()

    assert peaks[1] < 1.2 * peaks[0]
