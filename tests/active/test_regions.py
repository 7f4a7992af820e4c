"""Which windows of a map are chosen to be labelled, on maps of known numbers."""

import numpy as np
import pytest
import shapely
from active.maps import CRS, LEFT, PIXEL_M, TOP, three_kinds, write_shares
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from geoseg.active.acquire.regions import RegionSettings, choose_regions
from geoseg.active.acquire.windows import map_of, measure_windows
from geoseg.errors import ConfigError, GridError, SceneError

NAMES = ("ground", "ice", "lake")


@pytest.fixture
def path(tmp_path):
    return write_shares(tmp_path / "probability.tif", three_kinds(), NAMES)


def box(row, column, rows, columns):
    """The outline of pixels."""
    across, down = PIXEL_M
    return shapely.box(
        LEFT + column * across,
        TOP - (row + rows) * down,
        LEFT + (column + columns) * across,
        TOP - row * down,
    )


@given(
    seed=st.integers(0, 2**32 - 1),
    height=st.integers(12, 60),
    width=st.integers(8, 60),
    window_m=st.sampled_from([240.0, 250.0]),
)
@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_windows_hold_the_means_of_their_pixels(
    tmp_path, monkeypatch, seed, height, width, window_m
):
    monkeypatch.setattr("geoseg.active.acquire.windows._BLOCK_PX", 16)
    rng = np.random.default_rng(seed)
    shares = np.moveaxis(rng.dirichlet([0.5, 0.5, 0.5], (height, width)), -1, 0)
    valid = rng.random((height, width)) < 0.7
    tiled = {"tiled": True, "blockxsize": 16, "blockysize": 16}
    path = write_shares(tmp_path / "map.tif", shares, NAMES, valid=valid, **tiled)

    found = measure_windows(path, window_m=window_m)

    rows, columns = round(window_m / 20), round(window_m / 30)
    assert (found.rows_px, found.columns_px) == (rows, columns)
    kept = np.rint(shares * 250) / 250
    entropy = -np.where(kept > 0, kept * np.log(np.where(kept > 0, kept, 1)), 0).sum(axis=0)
    places = [
        (top, left)
        for top in range(0, height, rows)
        for left in range(0, width, columns)
        if valid[top : top + rows, left : left + columns].any()
    ]
    got = zip(found.row * rows, found.column * columns, strict=True)
    assert [(int(top), int(left)) for top, left in got] == places
    for index, (top, left) in enumerate(places):
        part = np.s_[top : top + rows, left : left + columns]
        known = valid[part]
        assert found.valid[index] == pytest.approx(known.sum() / (rows * columns))
        assert found.doubt[index] == pytest.approx(entropy[part][known].mean() / np.log(3), 1e-5)
        for k in range(3):
            expected = kept[k][part][known].mean()
            assert found.chances[index, k] == pytest.approx(expected, 1e-6, 1e-9)


def test_the_most_doubtful_windows_are_chosen_and_lie_where_the_map_is_in_doubt(path):
    windows = measure_windows(path, window_m=240)

    found = choose_regions(windows, RegionSettings(count=6, score="entropy"))

    chosen = found.windows[found.windows["why"] == "doubtful"]
    assert len(chosen) == 5
    assert found.windows.crs == CRS
    assert (chosen.intersection(box(0, 0, 32, 48)).area > 0).all()
    # A window that is all in doubt comes first, and one of which two thirds are is of another kind.
    assert chosen["score"].iloc[0] == pytest.approx(np.log(2) / np.log(3), 1e-5)
    assert chosen["score"].min() >= 0.66 * np.log(2) / np.log(3)


def test_windows_rich_in_rare_classes_are_chosen_by_their_share_of_all_that_is_expected(path):
    windows = measure_windows(path, window_m=480)

    lakes = RegionSettings(count=5, score="rare", rare=("lake",))
    both = RegionSettings(count=200, score="rare", least_valid=0.01)

    chosen = choose_regions(windows, lakes).windows.query("why == 'rare'")
    # The lake is 16 x 24 px, and windows are 24 x 16: from row 48 on, in columns 64 and 80.
    assert chosen.geometry.iloc[0].equals(box(48, 80, 16, 16))
    assert chosen["score"].iloc[0] == pytest.approx(16 * 16 / (16 * 24))
    # All windows together hold all that is expected of the two classes beside the ground.
    assert choose_regions(windows, both).windows["score"].sum() == pytest.approx(2)


def test_only_the_best_by_score_are_compared(tmp_path, monkeypatch):
    monkeypatch.setattr("geoseg.active.acquire.regions._A_PLACE", 2)
    spread = np.linspace(0.1, 0.7, 96)[None].repeat(64, axis=0)[None].astype(np.float32)
    path = write_shares(tmp_path / "uncertainty.tif", spread, ["spread"])

    wanted = RegionSettings(count=10, score="entropy")
    found = choose_regions(measure_windows(path, window_m=240), wanted).windows

    # Nine of the best 18 of 60 windows: of the last four columns of twelve, five windows high.
    assert found.query("why == 'doubtful'").bounds["minx"].min() >= LEFT + 64 * 30


def test_what_is_expected_of_a_class_grows_with_the_pixels_that_have_data(tmp_path):
    valid = np.ones((64, 96), dtype=bool)
    valid[:6, :8] = False  # Half of the window in the north west.
    shares = three_kinds()
    shares[:, :, :] = np.array([0.9, 0.1, 0], np.float32)[:, None, None]
    path = write_shares(tmp_path / "map.tif", shares, NAMES, valid=valid)

    wanted = RegionSettings(count=200, score="rare", least_valid=0.1)
    found = choose_regions(measure_windows(path, window_m=240), wanted).windows

    whole, half = 12 * 8, 6 * 8
    score = found.set_index(found.geometry.to_wkb())["score"]
    assert score[box(0, 0, 12, 8).wkb] == pytest.approx(half / valid.sum())
    assert score[box(0, 8, 12, 8).wkb] == pytest.approx(whole / valid.sum())


def test_a_mixture_names_what_each_window_is_chosen_for(path):
    windows = measure_windows(path, window_m=240)

    found = choose_regions(windows, RegionSettings(count=14)).windows

    lake, doubt = box(48, 72, 16, 24), box(0, 0, 32, 48)
    assert found[found["why"] == "rare"].intersects(lake).all()
    assert found[found["why"] == "doubtful"].intersects(doubt).all()
    assert set(found["why"]) == {"audit", "doubtful", "rare"}
    every = choose_regions(windows, RegionSettings(count=200)).windows["score"]
    assert (every.min(), (every == 0).sum()) == (0, 60 - 3 * 6 - 3)
    assert every.max() < 1


def test_windows_do_not_overlap_and_end_with_the_map(path):
    windows = measure_windows(path, window_m=250)

    found = choose_regions(windows, RegionSettings(count=200, least_valid=0.01)).windows

    assert shapely.union_all(found.geometry).equals(box(0, 0, 64, 96))
    assert found.area.sum() == pytest.approx(64 * 96 * 600)


def test_windows_with_too_little_data_are_left_out(tmp_path):
    valid = np.ones((64, 96), dtype=bool)
    valid[:, :50] = False
    path = write_shares(tmp_path / "map.tif", three_kinds(), NAMES, valid=valid)

    found = choose_regions(measure_windows(path, window_m=480), RegionSettings(count=100))

    # Of columns from 48, 64 and 80 and rows from 0 and 24 (those from 48 are 16 rows of 24).
    assert (found.eligible, found.left_out) == (9, 0)
    assert found.windows.total_bounds[0] == LEFT + 48 * 30
    strict = choose_regions(
        measure_windows(path, window_m=480), RegionSettings(count=100, least_valid=0.9)
    )
    assert (strict.eligible, strict.left_out) == (4, 5)


def test_chosen_windows_are_unlike_rather_than_side_by_side(tmp_path):
    # All of the north is the same toss-up; one window in the south is a weaker one of other kind.
    shares = np.zeros((3, 64, 96), dtype=np.float32)
    shares[0] = 1
    shares[:2, :24] = 0.5
    shares[:, 48:60, 88:96] = np.array([0, 0.6, 0.4], np.float32)[:, None, None]
    path = write_shares(tmp_path / "map.tif", shares, NAMES)

    found = choose_regions(
        measure_windows(path, window_m=240), RegionSettings(count=8, score="entropy")
    )

    chosen = found.windows.query("why != 'audit'")
    assert chosen.intersects(box(48, 88, 12, 8)).any()


@given(seed=st.integers(0, 2**16), count=st.integers(1, 120))
@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_tenth_at_least_is_a_random_sample_of_all_that_is_not_chosen(path, seed, count):
    windows = measure_windows(path, window_m=240)

    found = choose_regions(windows, RegionSettings(count=count, seed=seed))

    table = found.windows
    audit = table[table["why"] == "audit"]
    assert len(table) == min(count, found.eligible)
    assert table["rank"].tolist() == list(range(1, len(table) + 1))
    assert not table.geometry.to_wkb().duplicated().any()
    assert len(audit) >= min(count, found.eligible) / 10
    assert (table.loc[table["why"] != "audit", "inclusion"] == 1).all()
    # The inverse of inclusion adds up to what the sample stands for.
    assert (1 / audit["inclusion"]).sum() == pytest.approx(
        found.eligible - (len(table) - len(audit)) if len(audit) else 0
    )


def test_every_quarter_of_the_ranks_holds_its_part_of_the_audit(path):
    found = choose_regions(measure_windows(path, window_m=240), RegionSettings(count=40)).windows

    audit = found.loc[found["why"] == "audit", "rank"]
    assert ((audit - 1) // 10).tolist() == [0, 1, 2, 3]


def test_the_audit_draws_every_other_window_equally_often(path):
    windows = measure_windows(path, window_m=480)
    drawn = {}

    for seed in range(60):
        wanted = RegionSettings(count=6, audit_share=0.5, score="entropy", seed=seed)
        found = choose_regions(windows, wanted)
        for one in found.windows.query("why == 'audit'").geometry.to_wkb():
            drawn[one] = drawn.get(one, 0) + 1

    # Three of the 18 windows are all in doubt and always chosen; 180 / 15 = 12, give or take 3.
    assert len(drawn) == 15
    assert 12 - 10 <= min(drawn.values()) <= max(drawn.values()) <= 12 + 12


def test_the_same_seed_chooses_the_same_windows(path):
    windows = measure_windows(path, window_m=240)

    first, second, other = (
        choose_regions(windows, RegionSettings(count=30, seed=seed)).windows for seed in (1, 1, 2)
    )

    assert first.equals(second)
    assert not first.equals(other)


def test_a_map_of_uncertainty_is_scored_by_its_mean_and_knows_nothing_rare(tmp_path):
    spread = np.linspace(0, 0.7, 96)[None].repeat(64, axis=0)[None].astype(np.float32)
    windows = measure_windows(
        write_shares(tmp_path / "uncertainty.tif", spread, ["spread"]), window_m=480
    )

    found = choose_regions(windows, RegionSettings(count=3, score="entropy")).windows

    assert found["score"].max() == pytest.approx(spread[0, 0, -16:].mean(), 0.01)
    with pytest.raises(ConfigError) as error:
        choose_regions(windows, RegionSettings(score="mixture"))
    assert str(error.value) == (
        "An uncertainty does not tell where rare classes are; give the map of probabilities, or "
        "score by entropy."
    )


def test_a_map_without_data_has_no_windows(tmp_path):
    nothing = np.zeros((64, 96), dtype=bool)
    path = write_shares(tmp_path / "map.tif", three_kinds(), NAMES, valid=nothing)

    found = choose_regions(measure_windows(path, window_m=480), RegionSettings())

    assert len(found.windows) == found.eligible == 0
    assert found.windows.columns.tolist() == [
        "rank",
        "why",
        "score",
        "inclusion",
        "valid",
        "geometry",
    ]


def test_a_folder_stands_for_its_probabilities_and_else_for_its_uncertainty(tmp_path):
    with pytest.raises(SceneError) as error:
        map_of(tmp_path)
    assert str(error.value) == (
        f"{tmp_path} holds neither probability.tif nor uncertainty.tif; map the scene with `geoseg "
        "predict` and inference.probability = true."
    )

    for name in ("uncertainty.tif", "probability.tif"):
        (tmp_path / name).touch()
        assert map_of(tmp_path) == tmp_path / name
    assert map_of(tmp_path / "uncertainty.tif") == tmp_path / "uncertainty.tif"
    with pytest.raises(SceneError, match=r"other.tif does not exist; give a folder that"):
        map_of(tmp_path / "other.tif")


def test_a_map_in_degrees_is_refused(tmp_path):
    path = write_shares(tmp_path / "map.tif", three_kinds(), NAMES, crs="EPSG:4326", pixel=(1, 1))

    with pytest.raises(GridError, match="Windows need a scene in metres and WGS 84 is in degrees"):
        measure_windows(path, window_m=480)


@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
def test_a_map_without_a_reference_system_is_refused(tmp_path):
    path = write_shares(tmp_path / "map.tif", three_kinds(), NAMES, crs=None)

    with pytest.raises(GridError, match="has no coordinate reference system; set it with"):
        measure_windows(path, window_m=480)


@pytest.mark.parametrize(
    ("names", "extra"),
    [
        (("ground", "", "lake"), {}),  # a class without a name
        (NAMES, {"dtype": "float32"}),  # numbers that are not as they are stored
    ],
)
def test_what_is_no_map_of_probabilities_is_refused(tmp_path, names, extra):
    path = write_shares(tmp_path / "map.tif", three_kinds(), names, **extra)

    with pytest.raises(SceneError) as error:
        measure_windows(path, window_m=480)
    assert str(error.value) == (
        f"{path} holds neither probabilities nor an uncertainty; give probability.tif or "
        "uncertainty.tif that `geoseg predict` wrote, or their folder."
    )


def test_a_map_of_classes_is_refused(tmp_path):
    path = write_shares(tmp_path / "classes.tif", three_kinds()[:1], [])

    with pytest.raises(SceneError, match="holds neither probabilities nor an uncertainty"):
        measure_windows(path, window_m=480)


@pytest.mark.parametrize(
    ("window_m", "told"),
    [
        (-5, "No window is -5 m wide; give its side in metres."),
        (float("nan"), "No window is nan m wide; give its side in metres."),
        (100, "A window of 100 m is 5 x 3 px of this map; give 240 m or more, 8 px."),
        (
            5000,
            "A window of 5000 m does not fit into a map of 2880 x 1280 m; give a smaller side.",
        ),
    ],
)
def test_windows_that_cannot_be_are_refused(path, window_m, told):
    with pytest.raises(ConfigError) as error:
        measure_windows(path, window_m=window_m)
    assert str(error.value) == told


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"count": 0}, "0 windows are none; ask for 1 or more."),
        (
            {"score": "entropi"},
            "There is no score 'entropi'. Did you mean 'entropy'? Known: entropy, mixture, rare.",
        ),
        (
            {"least_valid": 0},
            "A share of 0 of a window cannot have data; give more than 0, up to 1.",
        ),
        (
            {"audit_share": 0.05},
            "An audit of a share of 0.05 is too small or too large; give 0.1 to 1, for without it "
            "nothing tells what the map misses.",
        ),
    ],
)
def test_settings_that_make_no_sense_are_refused(changed, told):
    with pytest.raises(ConfigError) as error:
        RegionSettings(**changed)
    assert str(error.value) == told


def test_a_class_that_the_map_does_not_have_is_refused_with_the_nearest(path):
    windows = measure_windows(path, window_m=480)

    with pytest.raises(ConfigError) as error:
        choose_regions(windows, RegionSettings(rare=("lakes",)))
    assert str(error.value) == (
        "The map has no class 'lakes'. Did you mean 'lake'? Known: ground, ice, lake."
    )
