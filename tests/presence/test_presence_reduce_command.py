"""`geoseg presence reduce`: from a probability map to the presence of something in chips."""

import json

import geopandas as gpd
import numpy as np
import pytest
import rasterio
import shapely
import typer
from odc.geo.geobox import GeoBox
from rasterio import Affine
from rasterio.features import rasterize
from scipy.ndimage import gaussian_filter
from scipy.special import expit
from typer.testing import CliRunner

from geoseg.commands.presence.reduce import reduce
from geoseg.data.simulate import simulate
from geoseg.errors import ConfigError, GridError, LabelError, SceneError
from geoseg.inference.maps import as_stored
from geoseg.presence.reduction.run import map_grid

# `reduce` alone would be an application without verbs.
app = typer.Typer(pretty_exceptions_enable=False)
app.command()(reduce)
app.command("other")(lambda: None)

GRID = GeoBox((150, 200), Affine(10, 0, 500_000, 0, -10, 7_800_000), "EPSG:32608")


def run(*arguments):
    return CliRunner().invoke(app, ["reduce", *map(str, arguments)])


def write_map(path, chance, grid, *, hidden=np.s_[:0, :0]):
    """Probabilities (H, W) of thaw slumps, as `geoseg predict` stores them."""
    stored = np.stack([as_stored(1 - chance), as_stored(chance)])
    stored[:, *hidden] = 255
    with rasterio.open(
        path,
        "w",
        driver="GTiff",
        height=grid.shape.y,
        width=grid.shape.x,
        count=2,
        dtype="uint8",
        crs=str(grid.crs),
        transform=grid.affine,
        nodata=255,
        tiled=True,
        blockxsize=64,
        blockysize=64,
    ) as raster:
        raster.write(stored)
        raster.scales = (1 / 250, 1 / 250)
        for band, name in enumerate(("ground", "thaw_slump"), start=1):
            raster.set_band_description(band, name)
    return path


def outlines_of(grid, rng, count=25):
    corners = rng.integers((5, 5), (grid.shape.x - 15, grid.shape.y - 15), (count, 2))
    boxes = []
    for column, row in corners:
        left, top = grid.affine * (int(column), int(row))
        boxes.append(shapely.box(left, top - 80, left + 70, top))
    return gpd.GeoDataFrame(
        {"class_name": ["thaw_slump"] * (count - 1) + ["other_lake"]},
        geometry=boxes,
        crs=str(grid.crs),
    )


@pytest.fixture
def example(tmp_path):
    """A noisy map with a hidden corner, and the outlines that are true."""
    rng = np.random.default_rng(0)
    truth = outlines_of(GRID, rng)
    shape = (GRID.shape.y, GRID.shape.x)
    slumps = truth[truth["class_name"] == "thaw_slump"].geometry
    mask = rasterize(slumps, out_shape=shape, transform=GRID.affine).astype(float)
    noise = gaussian_filter(rng.normal(0, 1, shape), 1) * 3
    chance = expit(10 * (gaussian_filter(mask, 1) - 0.4) + noise)
    truth.to_crs(4326).to_file(tmp_path / "truth.gpkg", layer="outlines_2020")
    write_map(tmp_path / "probability.tif", chance, GRID, hidden=np.s_[:40, :40])
    return tmp_path


def test_chips_are_cut_and_rules_compared_with_outlines(example):
    out = example / "chips.parquet"

    done = run(
        example,
        *("--size-m", 100, "--min-area-m2", 1500),
        *("--outlines", f"{example}/truth.gpkg::outlines_2020", "--out", out, "--json"),
    )

    assert done.exit_code == 0, done.output
    figures = json.loads(done.stdout)
    table = gpd.read_parquet(out)
    assert (len(table), figures["chips"]) == (300, 300)
    assert figures["unknown"] == 16
    # A hidden chip is unknown to every rule, and not absent.
    hidden = table[table["valid"] == 0]
    assert len(hidden) == 16
    assert hidden[["maximum", "top_k_mean", "noisy_or"]].isna().all(axis=None)
    scores = {score["name"]: score for score in figures["reductions"]}
    assert list(scores) == ["maximum", "top_k_mean", "noisy_or", "learned"]
    assert scores["noisy_or"]["average_precision"] > 0.8, scores
    assert scores["maximum"]["chips"] == 284
    assert table["present"].sum() == figures["present"]
    assert table.crs.to_epsg() == 32608
    assert (table.area == 100 * 100).all()


def test_the_outlines_of_another_class_are_no_truth(example):
    lake = gpd.read_file(example / "truth.gpkg").to_crs(GRID.crs.to_wkt()).iloc[-1:]
    out = example / "chips.parquet"

    run(example, "--size-m", 100, "--outlines", example / "truth.gpkg", "--out", out)

    table = gpd.read_parquet(out)
    in_lake = table.intersection(lake.geometry.iloc[0]).area > 3000
    slumps = gpd.read_file(example / "truth.gpkg").to_crs(GRID.crs.to_wkt()).iloc[:-1]
    free = table.intersection(slumps.union_all()).area == 0
    assert (in_lake & free).any()
    assert not table.loc[in_lake & free, "present"].any()


def test_chips_of_a_file_keep_their_names_and_order(example):
    chips = gpd.GeoDataFrame(
        {"chip_id": ["b", "a", "far"]},
        geometry=[
            shapely.box(500_500, 7_799_000, 500_900, 7_799_400),
            shapely.box(500_000, 7_799_900, 500_100, 7_800_000),
            shapely.box(600_000, 7_799_900, 600_100, 7_800_000),
        ],
        crs="EPSG:32608",
    )
    chips.to_file(example / "grid.gpkg")

    done = run(
        example / "probability.tif",
        *("--chips", example / "grid.gpkg", "--out", example / "chips.parquet"),
    )

    assert done.exit_code == 0, done.output
    table = gpd.read_parquet(example / "chips.parquet")
    assert table["chip_id"].to_list() == ["b", "a", "far"]
    assert table["valid"].to_list() == [1, 0, 0]
    assert "present" not in table
    with rasterio.open(example / "probability.tif") as raster:
        inside = raster.read(2)[60:100, 50:90]
    assert table.loc[0, "maximum"] == pytest.approx(inside.max() / 250)


def test_an_empty_chip_is_named_by_its_row(example):
    boxes = [shapely.box(500_500, 7_799_000, 500_900, 7_799_400), shapely.Polygon()]
    chips = gpd.GeoDataFrame({"chip_id": ["a", "b"]}, geometry=boxes, crs="EPSG:32608")
    chips.to_file(example / "grid.gpkg")

    done = run(example, "--chips", example / "grid.gpkg", "--out", example / "chips.parquet")

    with pytest.raises(LabelError, match=r"grid\.gpkg holds an empty polygon \(row 1\)"):
        raise done.exception
    assert not (example / "chips.parquet").exists()


def test_a_rule_learnt_on_one_map_serves_another(example):
    rule = example / "rule.json"
    first = run(
        example,
        *("--size-m", 100, "--outlines", example / "truth.gpkg", "--learn", rule),
        *("--out", example / "a.parquet"),
    )

    done = run(example, "--size-m", 100, "--learned", rule, "--out", example / "b.parquet")

    assert (first.exit_code, done.exit_code) == (0, 0), done.output
    truth = gpd.read_parquet(example / "a.parquet")["present"]
    learned = gpd.read_parquet(example / "b.parquet")["learned"]
    assert learned.isna().sum() == 16
    assert learned[truth].mean() > 0.6 > 0.2 > learned[~truth].mean()
    assert "16" in done.stdout


def refused(*arguments):
    done = run(*arguments)
    assert done.exception is not None
    return done.exception


def test_what_cannot_be_done_is_said(example):
    path = example / "probability.tif"

    neither = refused(path)
    no_class = refused(path, "--size-m", 100, "--class", "thaw_slumps")
    nowhere = refused(example.parent, "--size-m", 100)
    untaught = refused(path, "--size-m", 100, "--learn", example / "rule.json")

    assert isinstance(neither, ConfigError)
    assert "one of --chips FILE and --size-m METRES" in str(neither)
    assert isinstance(no_class, SceneError)
    assert "no band 'thaw_slumps'. Did you mean 'thaw_slump'?" in str(no_class)
    assert "holds no probability.tif; map the scene with" in str(nowhere)
    assert "--learn learns from --outlines; give them too" in str(untaught)
    assert not list(example.glob("*.parquet"))


def test_a_map_in_degrees_has_no_areas(tmp_path):
    grid = GeoBox((10, 12), Affine(0.001, 0, 10, 0, -0.001, 70), "EPSG:4326")
    path = write_map(tmp_path / "probability.tif", np.zeros((10, 12)), grid)

    with pytest.raises(GridError, match="Chips and smallest objects need a scene in metres"):
        map_grid(path)


@pytest.mark.slow
def test_slumps_of_the_simulated_landscape_are_found_by_every_rule(tmp_path):
    simulate(tmp_path, seed=1, size_m=6000)
    with rasterio.open(tmp_path / "dem.tif") as dem:
        grid = GeoBox(dem.shape, dem.transform, str(dem.crs))
    truth = gpd.read_file(tmp_path / "outlines.gpkg", layer="outlines_2025")
    slumps = truth[truth["class_name"] == "thaw_slump"].geometry
    shape = (grid.shape.y, grid.shape.x)
    mask = rasterize(slumps, out_shape=shape, transform=grid.affine).astype(float)
    rng = np.random.default_rng(0)
    noise = 3 * gaussian_filter(rng.normal(0, 1, shape), 1.2)
    chance = expit(10 * (gaussian_filter(mask, 1.2) - 0.45) + noise)
    write_map(tmp_path / "probability.tif", chance, grid)

    done = run(
        tmp_path,
        *("--size-m", 160, "--outlines", f"{tmp_path}/outlines.gpkg::outlines_2025"),
        *("--out", tmp_path / "chips.parquet", "--json"),
    )

    scores = {score["name"]: score for score in json.loads(done.stdout)["reductions"]}
    assert scores["maximum"]["present"] >= 10
    assert scores["noisy_or"]["average_precision"] > 0.9
    assert scores["noisy_or"]["average_precision"] > scores["maximum"]["average_precision"]
