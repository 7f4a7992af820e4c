"""Scans of film come onto the ground without their border, or are refused with the way out."""

import json
import math
import warnings
from dataclasses import replace
from datetime import UTC, datetime

import numpy as np
import pytest
import rasterio
import shapely
from cogs import faults_of_cog
from conftest import write_raster
from pyproj import Transformer
from rasterio.control import GroundControlPoint
from rasterio.errors import NotGeoreferencedWarning
from rasterio.rpc import RPC
from scipy import ndimage
from typer.testing import CliRunner

from geoseg.cli import app
from geoseg.data.simulate.scan import scan_of
from geoseg.errors import GridError, SceneError
from geoseg.scale import Engine
from geoseg.scenes import (
    Asset,
    ProblemKind,
    Scene,
    open_raster,
    open_scene,
    read_catalog,
    read_scene,
    scan_folders,
)
from geoseg.scenes.prepare import PrepareJob, PrepareSettings, prepare_scenes
from geoseg.scenes.prepare import film as film_module
from geoseg.scenes.prepare.film import prepare_film

PIXEL_M, BORDER = 20.0, 50
WEST, NORTH = 500_000.0, 7_200_000.0
TURN = math.radians(12)
SHAPE = (560, 700)


def picture():
    """Bright squares of known places on dark ground."""
    rng = np.random.default_rng(0)
    tone = 90 + 12 * ndimage.gaussian_filter(rng.standard_normal(SHAPE), 5) * 5
    tone[200:260, 300:380] = 230
    tone[400:430, 100:130] = 230
    return np.clip(tone, 30, 250)


def on_ground(row, column):
    """Where the corner of a pixel of the scan lies: turned by 12 degrees."""
    right, down = column * PIXEL_M, row * PIXEL_M
    x = WEST + right * math.cos(TURN) + down * math.sin(TURN)
    return x, NORTH + right * math.sin(TURN) - down * math.cos(TURN)


def points(count=12):
    rng = np.random.default_rng(1)
    found = []
    for row, column in rng.uniform(60, 550, (count, 2)).tolist():
        x, y = on_ground(row, column)
        found.append(GroundControlPoint(row=row, col=column, x=x, y=y))
    return found


def write_scan(path, stored, *, control=None, rpcs=None):
    path.parent.mkdir(exist_ok=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        with rasterio.open(
            path, "w", driver="GTiff", height=stored.shape[0], width=stored.shape[1], count=1,
            dtype=stored.dtype,
        ) as raster:  # fmt: skip
            raster.write(stored, 1)
            if control is not None:
                raster.gcps = (control, "EPSG:32627")
            if rpcs is not None:
                raster.rpcs = rpcs
    return path


def film(path, sensor="hexagon-kh9-mapping"):
    return Scene(
        id=path.stem,
        sensor_id=sensor,
        start=datetime(1980, 8, 22, tzinfo=UTC),
        end=datetime(1980, 8, 23, tzinfo=UTC),
        bands={"pan": Asset(path=path)},
    )


def command(*arguments):
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


@pytest.fixture(scope="module")
def scan():
    return scan_of(picture(), np.random.default_rng(3), border_px=BORDER, reseau=False)


def prepared(scene, out, **settings):
    ended = []
    job = PrepareJob(scene=scene, folder=out / "a", settings=PrepareSettings(**settings))
    prepare_scenes([job], out, engine=Engine(), on_ready=ended.append)
    assert not ended[0].error, ended[0].error
    return read_scene(ended[0].item), ended[0]


def seen_at(scene, row, column):
    """What the prepared scene shows at a pixel of the scan."""
    x, y = on_ground(row + 0.5, column + 0.5)
    with rasterio.open(scene.bands["pan"].path) as raster:
        r, c = raster.index(x, y)
        return int(raster.read(1)[r, c])


def test_a_scan_with_points_in_it_lies_where_they_say_without_its_border(scan, tmp_path):
    source = film(write_scan(tmp_path / "frame.tif", scan.stored, control=points()))

    scene, ready = prepared(source, tmp_path / "out")

    # The corners of the square are sharp to a pixel.
    for row, column in ((252, 352), (252, 427), (307, 352), (307, 427), (452, 152)):
        assert seen_at(scene, row, column) > 200
    for row, column in ((246, 390), (314, 390), (280, 345), (280, 434)):
        assert seen_at(scene, row, column) < 150
    assert seen_at(scene, 20, 300) == 0  # title
    assert seen_at(scene, 300, 10) == 0  # border
    assert [faults_of_cog(a.path) for a in (scene.bands["pan"], scene.mask)] == [[], []]
    assert ready.registration["points"] == 12
    assert ready.registration["left_out_rmse_m"] < 0.1
    properties = json.loads(ready.item.read_text())["properties"]
    assert properties["geoseg:registration"] == ready.registration
    with open_scene(scene) as reader:
        valid = reader.read(rasterio.windows.Window(0, 0, *reader.grid.shape[::-1])).valid
        area_m2 = valid.sum() * abs(reader.grid.resolution.x) ** 2
        assert reader.grid.crs.to_epsg() == 32627
    assert area_m2 == pytest.approx(SHAPE[0] * SHAPE[1] * PIXEL_M**2, rel=0.06)


def test_points_beside_the_scan_are_found_and_those_that_are_given_go_first(scan, tmp_path):
    path = write_scan(tmp_path / "frame.tif", scan.stored)
    lines = ["#CRS: EPSG:32627", "mapX,mapY,sourceX,sourceY,enable"]
    lines += [f"{p.x},{p.y},{p.col},{-p.row},1" for p in points()]
    (tmp_path / "frame.tif.points").write_text("\n".join(lines))
    (tmp_path / "fewer.points").write_text("\n".join(lines[:-3]))

    beside, ready = prepared(film(path), tmp_path / "beside")
    _, given = prepared(film(path), tmp_path / "given", points=tmp_path / "fewer.points")

    assert ready.registration["points"] == 12
    assert given.registration["points"] == 9
    assert seen_at(beside, 280, 390) > 200
    assert any("left out one by one" in sentence for sentence in ready.said)
    assert not any("no border" in sentence for sentence in ready.said)


def points_text(found, crs="EPSG:32627"):
    lines = [f"#CRS: {crs}", "mapX,mapY,sourceX,sourceY,enable"]
    lines += [f"{p.x},{p.y},{p.col},{-p.row},1" for p in found]
    return "\n".join(lines)


def in_degrees(found):
    to_degrees = Transformer.from_crs("EPSG:32627", "EPSG:4326", always_xy=True)
    places = [to_degrees.transform(p.x, p.y) for p in found]
    return [
        GroundControlPoint(row=p.row, col=p.col, x=x, y=y)
        for p, (x, y) in zip(found, places, strict=True)
    ]


@pytest.mark.parametrize("crs", ["EPSG:32627", "EPSG:4326"])
def test_film_with_points_beside_it_comes_through_the_catalogue(scan, tmp_path, crs):
    frame = write_scan(tmp_path / "in" / "DZB1216-500280L002001.tif", scan.stored)
    found = points() if crs == "EPSG:32627" else in_degrees(points())
    frame.with_name(f"{frame.name}.points").write_text(points_text(found, crs))
    listed, out = tmp_path / "all.parquet", tmp_path / "out"

    scanned = command("catalog", "scan", tmp_path / "in", "--out", listed)
    ready = command("catalog", "prepare", listed, "--out", out)

    assert (scanned.exit_code, ready.exit_code) == (0, 0)
    (entry,) = read_catalog(listed).entries
    # The whole scan, turned by 12 degrees.
    height, width = scan.stored.shape
    corners = [on_ground(*c) for c in ((0, 0), (0, width), (height, width), (height, 0))]
    there = shapely.Polygon(corners)
    seen = entry.footprint.to_crs("EPSG:32627").geom
    assert seen.symmetric_difference(there).area < 0.01 * there.area
    (done,) = read_catalog(out / "catalog.parquet").entries
    with open_scene(done.scene) as reader:
        assert reader.grid.crs.to_epsg() == 32627
        assert reader.grid.transform.b == reader.grid.transform.d == 0
    assert seen_at(done.scene, 280, 390) > 200
    assert seen_at(done.scene, 280, 434) < 150
    assert seen_at(done.scene, 20, 300) == 0  # title


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (points_text(points()).partition("\n")[2], "begin it with a line such as #CRS: EPSG:32627"),
        (points_text(points(), "EPSG:999999"), "begin it with a line such as #CRS: EPSG:32627"),
        (points_text(points()[:3]), "There are 3 ground control points; give 4 or more"),
        (
            points_text([GroundControlPoint(row=i, col=i, x=i, y=i) for i in range(5)]),
            "lie on a line or on one another; spread them over the image.",
        ),
    ],
)
def test_points_that_do_not_serve_are_told_of_by_the_scan(scan, tmp_path, text, words):
    frame = write_scan(tmp_path / "DZB1216-500280L002001.tif", scan.stored)
    frame.with_suffix(".points").write_text(text)

    ((step,),) = [[s for s in scan_folders([tmp_path]) if s.broken]]

    assert step.entries == ()
    assert step.broken[0].kind is ProblemKind.UNREADABLE
    assert words in step.broken[0].reason
    assert "DZB1216-500280L002001" in step.broken[0].reason


def test_film_that_lies_on_the_ground_needs_no_points(scan, tmp_path):
    path = write_raster(tmp_path / "DZB1216-500280L002001_ortho.tif", scan.stored)
    path.with_suffix(".points").write_text("of the scan that it was made of")

    entries = [entry for step in scan_folders([tmp_path]) for entry in step.entries]

    assert [entry.scene.id for entry in entries] == [path.stem]


def test_changed_points_make_the_scene_anew(scan, tmp_path):
    path = write_scan(tmp_path / "frame.tif", scan.stored, control=points())
    first, _ = prepared(film(path), tmp_path / "out")
    before = first.bands["pan"].path.stat().st_mtime_ns

    lines = ["#CRS: EPSG:32627", "mapX,mapY,sourceX,sourceY,enable"]
    lines += [f"{p.x + 1000},{p.y},{p.col},{-p.row},1" for p in points()]
    (tmp_path / "frame.tif.points").write_text("\n".join(lines))
    prepared(film(path), tmp_path / "out")

    assert first.bands["pan"].path.stat().st_mtime_ns != before


def test_rpcs_place_a_scan_and_its_height_is_told(scan, tmp_path):
    # An affine camera over 0.2 x 0.1 degrees: line runs south, sample east.
    height, width = scan.stored.shape
    ones = [1.0] + [0.0] * 19
    rpcs = RPC(
        height_off=500.0, height_scale=1000.0, lat_off=65.0, lat_scale=0.05, line_den_coeff=ones,
        line_num_coeff=[0, 0, -1.0] + [0.0] * 17, line_off=height / 2, line_scale=height / 2,
        long_off=-19.0, long_scale=0.1, samp_den_coeff=ones,
        samp_num_coeff=[0, 1.0] + [0.0] * 18, samp_off=width / 2, samp_scale=width / 2,
    )  # fmt: skip
    source = film(write_scan(tmp_path / "frame.tif", scan.stored, rpcs=rpcs))

    scene, ready = prepared(source, tmp_path / "out")

    assert ready.registration is None
    assert any("warped by RPCs at one height" in sentence for sentence in ready.said)
    with open_scene(scene) as reader:
        assert reader.grid.crs.to_epsg() == 32627
        box = reader.grid.extent.to_crs("EPSG:4326").boundingbox
    assert box.left == pytest.approx(-19.1, abs=0.01)
    assert box.top == pytest.approx(65.05, abs=0.01)


def test_an_image_that_lies_nowhere_is_refused_with_the_tools_that_place_it(scan, tmp_path):
    path = write_scan(tmp_path / "frame.tif", scan.stored)

    with pytest.raises(GridError) as caught:
        prepare_film(film(path), tmp_path, PrepareSettings())

    assert str(caught.value) == (
        f"{path} has no georeference and cannot be mapped; where it has ground control points (in "
        "it, or of QGIS in NAME.points beside it) or RPCs, warp it with `geoseg catalog prepare`; "
        "else make an orthoimage with spymicmac (Hexagon, aerial frames) or ASP, the Ames Stereo "
        "Pipeline (Corona, Hexagon)."
    )
    assert caught.value.exit_code == 2


def test_film_that_lies_on_the_ground_keeps_its_grid(tmp_path):
    stored = picture().astype(np.uint8)
    stored[:40] = 0
    path = write_raster(tmp_path / "ortho.tif", stored, nodata=0)

    scene, ready = prepared(film(path), tmp_path / "out")

    with rasterio.open(scene.bands["pan"].path) as raster, rasterio.open(path) as source:
        assert raster.transform == source.transform
        np.testing.assert_array_equal(raster.read(1), stored)
    with rasterio.open(scene.mask.path) as raster:
        np.testing.assert_array_equal(raster.read(1), stored > 0)
    assert ready.said == ()


def test_even_tones_are_made_where_they_are_asked_for(tmp_path):
    scan = scan_of(picture(), np.random.default_rng(3), border_px=BORDER, vignetting=0.6)
    source = film(write_scan(tmp_path / "frame.tif", scan.stored, control=points()))

    plain, _ = prepared(source, tmp_path / "plain")
    even, _ = prepared(source, tmp_path / "even", even_tones=True)

    def unevenness(scene):
        with rasterio.open(scene.bands["pan"].path) as raster:
            tones = raster.read(1)
        known = np.flatnonzero(tones > 0)
        values = ndimage.uniform_filter(tones.astype(float), 25).ravel()[known]
        return np.percentile(values, 90) - np.percentile(values, 10)

    assert unevenness(even) < 0.8 * unevenness(plain)
    assert seen_at(even, 280, 390) > seen_at(even, 280, 250) + 60


def test_bent_film_is_straightened_by_the_spline(tmp_path):
    stored = np.full((600, 700), 60, dtype=np.uint8)
    stored[40:560, 345:352] = 220  # on the ground it is a curve, 15 px wide

    def bent(row, column):
        return column + 15 * math.sin(row / 90)

    control = [
        GroundControlPoint(
            row=float(row), col=float(column), x=WEST + 20 * bent(row, column), y=NORTH - 20 * row
        )
        for row in range(0, 601, 50)
        for column in range(0, 701, 100)
    ]
    source = film(write_scan(tmp_path / "bent.tif", stored, control=control))

    scene, ready = prepared(source, tmp_path / "out")

    assert ready.registration["method"] == "thin-plate spline"
    with rasterio.open(scene.bands["pan"].path) as raster:
        tones = raster.read(1)
        for row in range(60, 540, 30):
            assert tones[raster.index(WEST + 20 * bent(row, 348.5), NORTH - 20 * row)] > 180


def test_blocks_cover_a_scan_once(scan, tmp_path, monkeypatch):
    path = write_scan(tmp_path / "frame.tif", scan.stored, control=points())
    monkeypatch.setattr(film_module, "_BLOCK_PX", 150)
    seen = np.zeros(scan.stored.shape, dtype=np.uint8)
    times = np.zeros(scan.stored.shape, dtype=int)

    with open_raster(path) as raster:
        for (row, column), stored, own in film_module._Scan(raster, Asset(path=path)).blocks(20):
            place = tuple(
                slice(c + o.start, c + o.stop) for c, o in zip((row, column), own, strict=True)
            )
            seen[place] = stored[own]
            times[place] += 1

    assert (times == 1).all()
    np.testing.assert_array_equal(seen, scan.stored)


def test_strips_leave_no_trace(scan, tmp_path, monkeypatch):
    source = film(write_scan(tmp_path / "frame.tif", scan.stored, control=points()))
    whole, _ = prepared(source, tmp_path / "whole", even_tones=True)

    monkeypatch.setattr(film_module, "_STRIP_PX", 90 * scan.stored.shape[1])
    monkeypatch.setattr(film_module, "_BLOCK_PX", 150)
    parts, _ = prepared(source, tmp_path / "parts", even_tones=True)

    with (
        rasterio.open(whole.bands["pan"].path) as one,
        rasterio.open(parts.bands["pan"].path) as other,
    ):
        difference = np.abs(one.read(1).astype(int) - other.read(1))
    assert difference.max() <= 1  # sums of other lengths


def test_a_scan_in_fractions_or_with_points_without_a_system_is_refused(scan, tmp_path):
    path = write_scan(tmp_path / "a.tif", scan.stored.astype(np.float32), control=points())
    with pytest.raises(SceneError, match="holds float32; a scan of film has whole counts"):
        prepare_film(film(path), tmp_path, PrepareSettings())
    path = write_scan(tmp_path / "b.tif", scan.stored, control=points()[:3])
    with pytest.raises(SceneError, match="There are 3 ground control points; give 4 or more"):
        prepare_film(replace(film(path), id="b"), tmp_path, PrepareSettings())
