"""`geoseg presence heat`: results summed over cells of equal area."""

import json
from datetime import UTC, datetime

import geopandas as gpd
import numpy as np
import pyarrow as pa
import pytest
from command_line import geoseg_here
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from pyproj import Geod
from typer import Typer
from typer.testing import CliRunner

from geoseg.commands.presence.heat import heat
from geoseg.errors import ConfigError, DataError
from geoseg.presence.heat import heat_map, read_heat, write_heat
from geoseg.presence.results import Result, part_of_shard, write_part

COLUMNS = ("lon", "lat", "probability", "decision")


def batches(rows, size=3):
    for first in range(0, max(len(rows), 1), size):
        columns = list(zip(*rows[first : first + size], strict=True)) or [()] * 4
        types = [pa.float64()] * 3 + [pa.bool_()]
        arrays = [pa.array(c, t) for c, t in zip(columns, types, strict=True)]
        yield pa.record_batch(arrays, COLUMNS)


@settings(deadline=None)
@given(
    st.lists(
        st.tuples(st.floats(-180, 180), st.floats(-90, 90), st.floats(0, 1), st.booleans()),
        max_size=40,
    ),
    st.sampled_from([1.0, 100.0, 2000.0]),
)
def test_nothing_is_lost_or_counted_twice_on_any_part_of_the_earth(rows, cell_km):
    found = heat_map(batches(rows), cell_km)

    assert found.seen.sum() + found.nowhere == len(rows)
    assert found.nowhere == 0
    assert found.expected.sum() == pytest.approx(sum(row[2] for row in rows))
    assert found.decided.sum() == sum(row[3] for row in rows)
    assert len(set(zip(found.row.tolist(), found.column.tolist(), strict=True))) == len(found)


def test_places_of_one_cell_are_summed_and_the_unseen_are_in_none():
    near = [(10.0, 60.0, 0.25, False), (10.001, 60.0005, 0.5, True)]
    far = [(10.0, 62.0, 0.125, False)]
    unseen = [(10.0, 60.0, None, None), (None, None, 0.5, True)]

    found = heat_map(batches(near + unseen + far, size=2), 5.0)

    # From the north: the far one first.
    assert found.expected.tolist() == [0.125, 0.75]
    assert (found.decided.tolist(), found.seen.tolist()) == ([0, 1], [1, 2])
    assert found.nowhere == 2


@pytest.mark.parametrize("lat", [0.2, -45.0, 69.5])
def test_a_cell_holds_its_place_and_has_one_area_at_any_latitude(tmp_path, lat):
    write_heat(heat_map(batches([(-134.5, lat, 0.5, True)]), 10.0), tmp_path / "heat.gpkg")

    cells = gpd.read_file(tmp_path / "heat.gpkg", layer="heat")

    assert cells.crs.to_epsg() == 6933
    on_ground = cells.to_crs(4326).geometry[0]
    point = gpd.points_from_xy([-134.5], [lat])[0]
    assert on_ground.contains(point)
    dense = cells.geometry.segmentize(100).to_crs(4326)[0]
    assert abs(Geod(ellps="WGS84").geometry_area_perimeter(dense)[0]) == pytest.approx(
        1e8, rel=1e-3
    )


def results_in(folder, positions):
    day = datetime(2021, 7, 1, tzinfo=UTC)
    rows = [
        Result(
            f"p{n}", lon, lat, None, (day,), (2021.5,), ("spot-5",), (0.0,), (1.0,), 0.0, 0.5, n > 0
        )
        for n, (lon, lat) in enumerate(positions)
    ]
    write_part(part_of_shard(folder, 0), rows, model="m", told=None)
    return folder


def test_results_become_cells_and_a_picture(tmp_path):
    folder = results_in(tmp_path / "results", [(-134.0, 69.0), (-134.0, 69.0), (-120.0, 70.0)])
    app = Typer()
    app.command()(heat)

    done = CliRunner().invoke(app, [str(folder), "--out", str(tmp_path / "h.gpkg"), "--json"])

    figures = json.loads(done.stdout)
    assert done.exit_code == 0
    assert (figures["cells"], figures["expected"], figures["decided"]) == (2, 1.5, 2)
    assert len(gpd.read_file(tmp_path / "h.gpkg")) == 2
    pixels = np.asarray(Image.open(tmp_path / "h.png").convert("L"))
    assert pixels.min() < 100 < pixels.max()


def test_a_name_that_the_picture_would_take_is_refused(tmp_path):
    folder = results_in(tmp_path / "results", [(-134.0, 69.0)])

    done = geoseg_here("presence", "heat", folder, "--out", tmp_path / "h.png")

    assert done.returncode == 2
    assert "h.png is no name of a GeoPackage; let it end in '.gpkg'." in " ".join(
        done.stderr.split()
    )
    assert not list(tmp_path.glob("h.*"))


def test_results_without_positions_and_cells_of_no_size_are_refused(tmp_path):
    folder = results_in(tmp_path, [(float("nan"), float("nan"))])

    with pytest.raises(DataError, match="has a position"):
        read_heat(folder, 25.0)
    with pytest.raises(ConfigError, match="A cell of 0 km"):
        read_heat(folder, 0)
