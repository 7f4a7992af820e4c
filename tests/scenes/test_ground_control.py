"""Control points are read as QGIS writes them, and what they are worth is told."""

import math

import numpy as np
import pytest
from pyproj import CRS
from rasterio.control import GroundControlPoint

from geoseg.errors import SceneError
from geoseg.scenes.ground_control import GroundControl, metric_crs, read_points
from geoseg.scenes.prepare.control import register

UTM = CRS.from_epsg(32627)


def points(count=14, *, noise_m=0.0, bend_m=0.0, seed=0):
    rng = np.random.default_rng(seed)
    found = []
    for row, column in rng.uniform(0, 1000, (count, 2)).tolist():
        x = 500_000 + 8 * column + 0.5 * row + bend_m * math.sin(column / 150)
        y = 7_000_000 - 8 * row + 0.3 * column + bend_m * math.sin(row / 150)
        dx, dy = rng.standard_normal(2).tolist()
        found.append(
            GroundControlPoint(row=row, col=column, x=x + noise_m * dx, y=y + noise_m * dy)
        )
    return tuple(found)


def qgis_file(path, found, *, crs="EPSG:32627", header="mapX,mapY,sourceX,sourceY,enable,dX,dY"):
    lines = [f"#CRS: {crs}", header]
    lines += [f"{p.x!r},{p.y!r},{p.col!r},{-p.row!r},1,0,0" for p in found]
    path.write_text("\n".join(lines))
    return path


def test_points_of_qgis_come_back_with_rows_that_run_down(tmp_path):
    found = points(5)
    path = qgis_file(tmp_path / "a.points", found, crs=UTM.to_wkt())
    with path.open("a") as file:
        file.write("\n1,2,3,4,0,0,0\n")  # switched off

    read = read_points(path)

    assert [(p.row, p.col, p.x, p.y) for p in read.points] == [
        (p.row, p.col, p.x, p.y) for p in found
    ]
    assert read.crs == UTM


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda t: t.replace("#CRS", "#"), "a.points names no reference system; begin it with"),
        (lambda t: t.replace("sourceX", "x"), "a.points has no columns mapX, mapY, sourceX"),
        (lambda t: t.replace(",1,0,0", "x,1,0,0", 1), "a.points: point 1 is not four numbers"),
        (lambda t: "\n".join(t.splitlines()[:4]), "a.points: There are 2 ground control points"),
        (lambda t: t.replace(",1,0,0", ",0,0,0"), "a.points: There are 0 ground control points"),
    ],
)
def test_tables_that_cannot_be_used_say_why(tmp_path, change, words):
    path = qgis_file(tmp_path / "a.points", points(6))
    path.write_text(change(path.read_text()))

    with pytest.raises(SceneError) as caught:
        read_points(path)

    assert words in str(caught.value)


def test_exact_points_leave_no_residual_and_noisy_ones_that_of_their_noise():
    exact = register(GroundControl(points=points(), crs=UTM), UTM)
    noisy = register(GroundControl(points=points(60, noise_m=20.0), crs=UTM), UTM)

    assert exact.method == "polynomial"
    assert exact.rmse_m < 0.01
    assert exact.left_out_rmse_m < 0.01
    # Two axes of 20 m each.
    assert noisy.rmse_m == pytest.approx(20 * 2**0.5, rel=0.2)
    assert noisy.left_out_rmse_m > noisy.rmse_m
    assert noisy.points == 60


def test_bent_film_takes_the_spline_and_its_fit_is_not_taken_for_its_error():
    found = register(GroundControl(points=points(80, bend_m=60.0), crs=UTM), UTM)

    assert found.method == "thin-plate spline"
    assert found.rmse_m < 0.01 < found.left_out_rmse_m < 60


def test_one_wrong_point_shows_in_what_is_left_out():
    good = points(12)
    wrong = (GroundControlPoint(row=500, col=500, x=good[0].x + 5000, y=good[0].y), *good)

    assert register(GroundControl(points=wrong, crs=UTM), UTM).left_out_rmse_m > 500


def test_points_on_a_line_are_refused():
    line = tuple(GroundControlPoint(row=i, col=i, x=5e5 + 8 * i, y=7e6 - 8 * i) for i in range(6))
    with pytest.raises(SceneError, match="lie on a line or on one another"):
        register(GroundControl(points=line, crs=UTM), UTM)


@pytest.mark.parametrize(
    ("place", "epsg"),
    [((-19.0, 65.0), 32627), ((179.9, -45.0), 32760), ((10.0, 86.0), 3413), ((0.0, -85.0), 3031)],
)
def test_degrees_become_metres_by_the_zone_or_the_pole(place, epsg):
    here = [GroundControlPoint(row=0, col=0, x=place[0], y=place[1])]
    assert metric_crs(CRS.from_epsg(4326), here).to_epsg() == epsg
    assert metric_crs(UTM, here) == UTM
