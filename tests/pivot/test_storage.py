"""A pivot on disk is the pivot in memory, block by block, and whatever stops its making."""

import json
import shutil
from dataclasses import replace
from datetime import timedelta

import numpy as np
import pytest
import rasterio
import torch
import xarray as xr
from affine import Affine
from cogs import faults_of_cog
from odc.geo.geobox import GeoBox

from geoseg.data.seasons import simulated_year
from geoseg.data.seasons.film import simulated_film
from geoseg.data.seasons.write import write_acquisition
from geoseg.errors import ConfigError, OutputError, SceneError
from geoseg.pivot.physical import PhysicalSettings, build_posterior
from geoseg.pivot.storage import (
    STORE,
    CubePlan,
    PivotPlan,
    UpdatePlan,
    build_pivot,
    common_grid,
    daily,
    open_store,
    read_acquisition,
    reflectance_scales,
    update_pivot,
    write_cube,
    write_geotiff,
)
from geoseg.scenes import scan_items

pytestmark = pytest.mark.slow  # what they share takes seconds to make

SETTINGS = PhysicalSettings(variables=("red", "vh"), classes=2)
SIDE = 24


@pytest.fixture(scope="module")
def year():
    return simulated_year(3, side=SIDE)


@pytest.fixture(scope="module")
def scenes(year, tmp_path_factory):
    folder = tmp_path_factory.mktemp("year")
    for one in year.acquisitions[:36]:
        write_acquisition(folder, one)
    found = scan_items(folder, checksums=False)
    assert not found.broken
    return tuple(entry.scene for entry in found.entries)


@pytest.fixture(scope="module")
def built(year, scenes, tmp_path_factory):
    out = tmp_path_factory.mktemp("pivot")
    plan = PivotPlan(scenes=scenes, grid=year.grid, out=out, settings=SETTINGS, block=16)
    summary = build_pivot(plan)
    assert (summary.done, summary.failed) == (4, ())
    return plan


def test_scenes_on_disk_are_what_was_measured(year, scenes):
    by_id = {one.id: one for one in year.acquisitions}
    for scene in scenes[:6]:
        read = read_acquisition(scene, year.grid)
        for reading in read.readings:
            own = next(r for r in by_id[scene.id].readings if r.bands == reading.bands)
            top = round((own.pixels.affine.f - reading.pixels.affine.f) / -own.pixels.affine.e)
            left = round((reading.pixels.affine.c - own.pixels.affine.c) / own.pixels.affine.a)
            height, width = reading.values.shape[1:]
            part = own.values[:, -top : height - top, left : left + width]
            assert torch.equal(torch.isnan(part), torch.isnan(reading.values))
            assert float((part - reading.values).nan_to_num().abs().max()) < 6e-5


def test_a_scene_of_another_zone_is_warped_to_where_it_lies(year, scenes):
    scene = next(one for one in scenes if one.sensor_id == "landsat-8")
    west = GeoBox.from_bbox(
        year.grid.extent.to_crs("EPSG:32632").boundingbox, crs="EPSG:32632", resolution=10
    )
    there = read_acquisition(scene, west)
    here = read_acquisition(scene, year.grid)
    assert there.readings[0].pixels.crs == west.crs
    both = [r.values[0][torch.isfinite(r.values[0])] for r in (*there.readings, *here.readings)]
    assert float(both[0].mean()) == pytest.approx(float(both[1].mean()), rel=0.15)


def test_what_is_stored_is_what_was_solved(year, scenes, built):
    store = open_store(built.out / STORE)
    assert store.grid == year.grid
    scales = reflectance_scales(scenes)
    area = year.grid.pad(9, 9)
    read = [read_acquisition(scene, area, scales[scene.id]) for scene in scenes]
    whole = build_posterior(read, year.grid, SETTINGS, store.usual)
    days = [store.sources[0].time.timestamp() / 86400 + k for k in (-400, 3.0, 20.2, 44.0, 500)]
    stored = store.posterior((slice(0, SIDE), slice(0, SIDE))).at(days)
    solved = whole.at(days)
    sd = solved.sd
    # Blocks see no further than their rim, where smoothness still tells a little.
    assert float(((stored.mean - solved.mean).abs() / sd).max()) < 0.25
    assert float(((stored.mean - solved.mean).abs() / sd).mean()) < 0.02
    assert torch.allclose(stored.sd, sd, rtol=0.05)
    assert torch.equal(stored.provenance, solved.provenance)
    assert torch.allclose(stored.age_days, solved.age_days, atol=1e-4)


def test_a_block_that_is_missing_is_made_again_and_no_other(built):
    record = next((built.out / "blocks").glob("*.json"))
    record.unlink()
    summary = build_pivot(built)
    assert (summary.done, summary.skipped) == (1, 3)


def test_a_store_that_was_removed_is_made_again(built, tmp_path):
    out = tmp_path / "copy"
    shutil.copytree(built.out, out)
    shutil.rmtree(out / STORE)
    again = PivotPlan(
        scenes=built.scenes, grid=built.grid, out=out, settings=built.settings, block=built.block
    )
    assert build_pivot(again).done == 4
    part = (slice(0, 4), slice(0, 4))
    one, other = (open_store(folder / STORE).posterior(part) for folder in (built.out, out))
    assert torch.equal(one.at([19400.0]).mean, other.at([19400.0]).mean)


def test_another_pivot_is_not_built_over_one(built):
    other = PivotPlan(
        scenes=built.scenes[:-1],
        grid=built.grid,
        out=built.out,
        settings=built.settings,
        block=built.block,
    )
    with pytest.raises(OutputError, match="holds a pivot of other scenes"):
        build_pivot(other)


def test_ground_that_nothing_shows_is_climatology(scenes, tmp_path, year):
    far = GeoBox((16, 48), year.grid.affine, year.grid.crs)
    far = GeoBox((16, 80), far.affine, far.crs)
    plan = PivotPlan(scenes=scenes, grid=far, out=tmp_path, settings=SETTINGS, block=16)
    assert build_pivot(plan).failed == ()
    store = open_store(tmp_path / STORE)
    found = store.posterior((slice(0, 16), slice(64, 80))).at([19400.0])
    assert bool(found.climatology.all())
    assert bool(torch.isinf(found.age_days).all())
    assert bool((found.sd > 0).all())


def test_a_cube_is_what_the_pivot_says(built, tmp_path):
    store = open_store(built.out / STORE)
    days = daily(19400.5, 19405.5)
    plan = CubePlan(store=built.out / STORE, days=days, variables=("red",), out=tmp_path)
    assert write_cube(plan).done == 4
    assert write_cube(plan).skipped == 4
    cube = xr.open_zarr(tmp_path / "cube.zarr", consolidated=False, decode_coords="all")
    found = store.posterior((slice(0, 16), slice(16, 24)), ["red"]).at(days)
    for field, name in (("mean", "red"), ("sd", "red_sd"), ("age_days", "red_age")):
        assert np.array_equal(
            cube[name][:, :16, 16:].values, getattr(found, field)[:, 0].numpy(), equal_nan=True
        )
    assert cube.odc.geobox == store.grid
    assert str(cube.time.values[0])[:16] == "2023-02-12T12:00"
    assert cube.red.attrs["standard_name"] == "surface_bidirectional_reflectance"
    assert cube.red.attrs["units"] == "1"
    assert cube.red_sd.attrs["standard_name"].endswith("standard_error")
    assert cube.red_source.dtype == np.int32
    with rasterio.open(f'ZARR:"{tmp_path}/cube.zarr":/red') as raster:  # as QGIS does
        assert raster.count == len(days)
        assert raster.crs.to_epsg() == 32633
        assert raster.transform == store.grid.affine
        assert np.array_equal(raster.read(1), cube.red[0].values)


def test_a_day_as_a_geotiff(built, tmp_path):
    store = open_store(built.out / STORE)
    write_geotiff(store, 19400.5, ["red"], tmp_path / "day.tif")
    with rasterio.open(tmp_path / "day.tif") as raster:
        assert raster.descriptions == ("red", "red_sd", "red_validity")
        assert raster.transform == store.grid.affine
        assert raster.tags()["TIFFTAG_DATETIME"] == "2023:02:12 12:00:00"
        image = raster.read(1)
    assert faults_of_cog(tmp_path / "day.tif") == []
    found = store.posterior((slice(16, 24), slice(0, 16)), ["red"]).at([19400.5])
    assert np.array_equal(image[16:24, :16], found.mean[0, 0].numpy())


def test_dates_that_are_out_of_order_or_equal_are_refused(tmp_path):
    for days in ((2.0, 1.0), (1.0, 1.0)):
        with pytest.raises(ConfigError, match="give dates in order, each once"):
            CubePlan(store=tmp_path, days=days, variables=(), out=tmp_path / "cube")
    with pytest.raises(ConfigError, match="needs a date"):
        CubePlan(store=tmp_path, days=(), variables=(), out=tmp_path / "cube")


class Killed(BaseException):
    """What no code answers."""


def kill(*_args, **_kwargs):
    raise Killed


def test_a_cube_is_whole_after_another_one_was_begun_in_its_place(built, tmp_path, monkeypatch):
    def cube_of(day):
        return CubePlan(store=built.out / STORE, days=(day,), variables=("vh",), out=tmp_path)

    def stop_after_one(done, _all):
        if done == 1:
            raise Killed

    assert write_cube(cube_of(19400.5)).done == 4
    with pytest.raises(Killed):
        write_cube(cube_of(19401.5), on_block=stop_after_one)
    assert write_cube(cube_of(19400.5)).skipped == 0
    with monkeypatch.context() as patched:
        patched.setattr("geoseg.pivot.storage.cube._lay_out", kill)
        with pytest.raises(Killed):
            write_cube(cube_of(19401.5))
    assert write_cube(cube_of(19400.5)).skipped == 0

    cube = xr.open_zarr(tmp_path / "cube.zarr", consolidated=False)
    assert bool(np.isfinite(cube.vh.values).all())
    shutil.rmtree(tmp_path / "cube.zarr")
    assert write_cube(cube_of(19400.5)).done == 4


def test_a_cube_in_the_folder_of_the_pivot_is_refused(built):
    with pytest.raises(ConfigError, match="holds the pivot; give the cube a folder of its own"):
        CubePlan(store=built.out / STORE, days=(19400.5,), variables=(), out=built.out)


@pytest.fixture
def radar(scenes, year, tmp_path):
    """What little takes no time to build."""
    return PivotPlan(
        scenes=tuple(one for one in scenes if one.sensor_id == "sentinel-1")[:4],
        grid=year.grid,
        out=tmp_path / "radar",
        settings=PhysicalSettings(variables=("vh",), classes=1, halo_m=0),
        block=16,
    )


def test_a_pivot_whose_layout_was_killed_is_laid_out_again(radar, monkeypatch):
    assert build_pivot(radar).done == 4
    mine = radar.out / "blocks" / "of_someone_else.txt"
    mine.write_text("kept")
    shutil.rmtree(radar.out / STORE)
    with monkeypatch.context() as patched:
        patched.setattr("geoseg.pivot.storage.knots._write_usual", kill)
        with pytest.raises(Killed):
            build_pivot(radar)
    with pytest.raises(OutputError, match=r"is no pivot, or not whole"):
        open_store(radar.out / STORE)

    assert build_pivot(radar).done == 4

    assert open_store(radar.out / STORE).variables == ("vh",)
    assert mine.read_text() == "kept"


def test_blocks_that_are_not_stored_yet_are_said_to_be_missing(radar, tmp_path):
    def stop_after_one(_done, _all):
        raise Killed

    with pytest.raises(Killed):
        build_pivot(radar, on_block=stop_after_one)
    store = open_store(radar.out / STORE)

    with pytest.raises(OutputError, match=r"is not whole: blocks are missing; run the same"):
        store.posterior((slice(20, 24), slice(20, 24)))
    with pytest.raises(OutputError, match="is not whole"):
        write_geotiff(store, 19400.5, ("vh",), tmp_path / "day.tif")
    assert not (tmp_path / "day.tif").exists()

    assert build_pivot(radar).done == 3
    store.posterior((slice(20, 24), slice(20, 24)))


def test_scenes_of_one_second_share_a_knot(radar):
    begin = radar.scenes[0].start.replace(microsecond=600_000)
    alike = tuple(
        replace(one, start=start, end=start + timedelta(milliseconds=2))
        for one, second in zip(radar.scenes, (0.0, 0.8, 0.0), strict=False)
        for start in [begin + timedelta(seconds=second)]
    )

    assert build_pivot(replace(radar, scenes=alike)).failed == ()

    assert len(open_store(radar.out / STORE).knot_times("vh")) == 2


def test_scenes_are_in_order_of_the_middle_of_their_intervals(radar):
    first, *others = radar.scenes
    mission = replace(first, end=others[-1].end + timedelta(days=90))

    build_pivot(replace(radar, scenes=(mission, *others)))

    times = [one.time for one in open_store(radar.out / STORE).sources]
    assert times == sorted(times)
    assert times[-1] > others[-1].start


def test_no_pivot_is_said_to_be_none(tmp_path):
    with pytest.raises(OutputError, match="is no pivot"):
        open_store(tmp_path / STORE)


def test_a_variable_that_is_not_held_is_named(built, tmp_path):
    store = open_store(built.out / STORE)
    with pytest.raises(SceneError, match=r"does not hold 'nir'; it holds red, vh"):
        write_geotiff(store, 19400.5, ["nir"], tmp_path / "day.tif")
    assert not (tmp_path / "day.tif").exists()


def test_the_common_grid_is_shown_by_all_scenes(scenes):
    grid = common_grid(scenes, 10.0)
    assert grid.affine.a == 10
    assert grid.affine.c % 10 == 0
    for scene in scenes:
        read = read_acquisition(scene, grid)
        for reading in read.readings:
            assert grid.extent.difference(reading.pixels.extent.buffer(0.01)).is_empty


@pytest.mark.parametrize("linear_bands", [("vv", "vh"), ("vh",)])
def test_linear_backscatter_is_refused(scenes, tmp_path, linear_bands):
    scene = next(one for one in scenes if one.sensor_id == "sentinel-1")
    for name, asset in scene.bands.items():
        with rasterio.open(asset.path) as raster:
            profile, values = raster.profile, raster.read(1)
        with rasterio.open(tmp_path / f"{name}.tif", "w", **profile) as raster:
            raster.write(10 ** (values / 10) if name in linear_bands else values, 1)
    item = json.loads((asset.path.parents[1] / f"{scene.id}.json").read_text())
    for name, stored in item["assets"].items():
        stored["href"] = f"./{name}.tif"
    (tmp_path / "item.json").write_text(json.dumps(item))
    linear = scan_items(tmp_path, checksums=False).entries[0].scene
    with pytest.raises(
        SceneError, match=rf"in {linear_bands[0]} looks linear.*store gamma0 in dec"
    ):
        reflectance_scales([linear])


def test_integers_to_10000_are_reflectance(scenes, tmp_path):
    scene = next(one for one in scenes if one.sensor_id == "landsat-8")
    name, asset = next(iter(scene.bands.items()))
    with rasterio.open(asset.path) as raster:
        profile, values = raster.profile, raster.read(1)
    with rasterio.open(tmp_path / f"{name}.tif", "w", **profile) as raster:
        raster.write(values, 1)  # without the scale
    item = json.loads((asset.path.parents[1] / f"{scene.id}.json").read_text())
    item["assets"] = {name: item["assets"][name] | {"href": f"./{name}.tif"}}
    (tmp_path / "item.json").write_text(json.dumps(item))
    bare = scan_items(tmp_path, checksums=False).entries[0].scene
    scales = reflectance_scales([bare])
    assert scales == {bare.id: 1e-4}
    area = GeoBox((8, 8), Affine(10, 0, 5e5, 0, -10, 7.2e6), "EPSG:32633")
    read = read_acquisition(bare, area, scales[bare.id])
    finite = read.readings[0].values[torch.isfinite(read.readings[0].values)]
    assert 0 < float(finite.median()) < 1


def test_terrain_lies_beside_the_variables(year, scenes, tmp_path):
    wide = year.grid.pad(20, 20)
    heights = np.fromfunction(lambda r, c: 100 + 2 * c + 0 * r, tuple(wide.shape))
    with rasterio.open(
        tmp_path / "dem.tif",
        "w",
        driver="GTiff",
        dtype="float32",
        count=1,
        height=wide.shape.y,
        width=wide.shape.x,
        crs=str(wide.crs),
        transform=wide.affine,
    ) as raster:
        raster.write(heights.astype(np.float32), 1)
    plan = PivotPlan(
        scenes=[one for one in scenes if one.sensor_id == "sentinel-1"][:6],
        grid=year.grid,
        out=tmp_path / "pivot",
        settings=PhysicalSettings(variables=("vh",), classes=1),
        dem=tmp_path / "dem.tif",
    )
    assert build_pivot(plan).failed == ()
    cube = CubePlan(store=plan.out / STORE, days=(19380.5,), variables=(), out=tmp_path / "days")
    assert write_cube(cube).failed == ()
    found = xr.open_zarr(tmp_path / "days" / "cube.zarr", consolidated=False)
    assert found.elevation.dims == ("y", "x")
    assert np.allclose(found.elevation.values, heights[20:-20, 20:-20], atol=1e-3)
    assert float(found.slope.mean()) == pytest.approx(np.degrees(np.arctan(0.2)), abs=0.2)


@pytest.fixture(scope="module")
def later(year, tmp_path_factory):
    """A scene after the last of the pivot, as it is read."""
    folder = tmp_path_factory.mktemp("later")
    one = next(a for a in year.acquisitions[36:] if a.sensor_id == "sentinel-2")
    write_acquisition(folder, one)
    found = tuple(entry.scene for entry in scan_items(folder, checksums=False).entries)
    return read_acquisition(found[0], year.grid.pad(9, 9)), found


def test_a_scene_that_comes_later_is_taken_in(built, later, tmp_path):
    acquisition, new = later
    plan = UpdatePlan(store=built.out / STORE, scenes=new, out=tmp_path)
    assert update_pivot(plan).done == 4
    assert update_pivot(plan).skipped == 4
    old, updated = open_store(built.out / STORE), open_store(tmp_path / STORE)
    assert len(updated.sources) == len(old.sources) + 1

    whole = (slice(0, SIDE), slice(0, SIDE))
    days = [acquisition.day - 20, acquisition.day, acquisition.day + 4]
    stored = updated.posterior(whole).at(days)
    solved = old.posterior(whole).updated(acquisition).at(days)
    before = old.posterior(whole).at(days)
    apart = ((stored.mean - solved.mean).abs() / solved.sd)[:, 0]
    assert float(apart.max()) < 0.4
    assert float(apart.mean()) < 0.03
    moved = ((stored.mean - before.mean).abs() / solved.sd)[1:, 0]
    assert float(moved.mean()) > 0.2
    place = [one.id for one in updated.sources].index(acquisition.id)
    assert float((stored.provenance[1, 0] == place).float().mean()) > 0.5


def test_a_scene_that_the_pivot_rests_on_is_no_update(scenes, built, later, tmp_path):
    plan = UpdatePlan(store=built.out / STORE, scenes=(*later[1], scenes[0]), out=tmp_path)
    with pytest.raises(SceneError, match="is in the pivot already; leave it out"):
        update_pivot(plan)
    with pytest.raises(SceneError, match="needs a scene"):
        update_pivot(UpdatePlan(store=built.out / STORE, scenes=(), out=tmp_path))
    with pytest.raises(OutputError, match="give another --out"):
        update_pivot(UpdatePlan(store=built.out / STORE, scenes=later[1], out=built.out))


def test_film_on_disk_joins_the_visible(year, scenes, tmp_path):
    frame = simulated_film(3, day=20, side=SIDE).acquisition
    write_acquisition(tmp_path / "film", frame)
    film = scan_items(tmp_path / "film", checksums=False).entries[0].scene
    seeing = [one for one in scenes if one.sensor_id != "sentinel-1"]
    plan = PivotPlan(
        scenes=(*seeing, film),
        grid=year.grid,
        out=tmp_path / "pivot",
        settings=PhysicalSettings(variables=("visible",), classes=2),
    )
    assert build_pivot(plan).failed == ()
    store = open_store(tmp_path / "pivot" / STORE)
    found = store.posterior((slice(0, SIDE), slice(0, SIDE))).at([frame.day])
    place = [one.id for one in store.sources].index(frame.id)
    assert float((found.provenance == place).float().mean()) > 0.5
