"""Scenes of an archive one by one: folders, what is told, and what stays in memory."""

import json
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from conftest import scene_of, write_raster

from geoseg.archive import Ends, LeftOut, Listed, SceneList, Telling, find_scenes
from geoseg.errors import GeosegError, SceneError
from geoseg.inference import Mapped
from geoseg.scale import Engine
from geoseg.scenes import count_rows, scan_scene, stream_catalog, write_catalog
from geoseg.scenes.prepare import PrepareJob, PrepareSettings, Ready, prepare_scenes
from geoseg.terminal import Outcome, show


@pytest.fixture
def scene(tmp_path):
    return scene_of(write_raster(tmp_path / "a.tif", np.ones((2, 20, 30), dtype=np.uint8)))


def catalog_of(scene, names, path):
    entry = scan_scene(scene)
    write_catalog([replace(entry, scene=replace(scene, id=name)) for name in names], path)
    return path


def without_sensor(path, row):
    table = pq.read_table(path)
    place = table.schema.get_field_index("geoseg:sensor")
    sensors = table.column(place).to_pylist()
    sensors[row] = "none"
    column = pa.array(sensors)
    pq.write_table(table.set_column(place, table.schema.field(place), column), path)


def test_scenes_get_folders_of_their_own_and_what_has_none_is_left_out(scene, tmp_path):
    names = ("../b (1)", "c", "odd", "C", "d")
    without_sensor(path := catalog_of(scene, names, tmp_path / "c.parquet"), 2)

    scenes = find_scenes(None, path, {})
    listed = list(scenes.listed())

    assert scenes.count == count_rows(path) == 5
    found = [(one.number, one.folder) for one in listed if isinstance(one, Listed)]
    assert found == [(0, "_b_1_"), (1, "c"), (4, "d")]
    odd, capital = (one for one in listed if isinstance(one, LeftOut))
    assert (odd.scene, "no sensor named 'none'" in odd.error) == ("odd", True)
    assert "Another scene goes to the folder 'C' of C already; give each" in capital.error


def test_rows_of_a_table_are_read_as_they_are_asked_for(scene, tmp_path, monkeypatch):
    monkeypatch.setattr("geoseg.scenes.catalog_rows._GROUP", 2)
    monkeypatch.setattr("geoseg.scenes.catalog.ROWS_AT_ONCE", 2)
    names = [f"s{number}" for number in range(8)]
    path = catalog_of(scene, names, tmp_path / "c.parquet")
    # The last group is damaged, which is seen when it is come to.
    column = pq.read_metadata(path).row_group(3).column(3)
    content = bytearray(path.read_bytes())
    start = column.dictionary_page_offset or column.data_page_offset
    content[start : start + column.total_compressed_size] = bytes(column.total_compressed_size)
    path.write_bytes(content)

    rows = stream_catalog(path)
    first = [next(rows).scene.id for _ in range(4)]

    assert first == names[:4]
    with pytest.raises(SceneError, match="cannot be read as a catalogue"):
        list(rows)
    *listed, last = SceneList(count=len(names), catalog=path).listed()
    assert [one.scene.id for one in listed] == names[: len(listed)]
    assert len(listed) >= 4
    assert "It cannot be read further: " in last.error


def test_jobs_are_made_as_they_are_handed_out(scene, tmp_path):
    made, seen = [], []

    def jobs():
        for number in range(6):
            made.append(number)
            absent = replace(scene.bands["red"], path=tmp_path / f"none{number}.tif")
            one = replace(scene, id=f"s{number}", bands={"red": absent})
            yield PrepareJob(
                scene=one,
                folder=tmp_path / "out" / one.id,
                settings=PrepareSettings(),
                number=number,
            )

    prepare_scenes(
        jobs(),
        tmp_path / "out",
        engine=Engine(),
        on_ready=lambda ready: seen.append((ready.number, len(made))),
    )

    assert [number for number, _ in seen] == list(range(6))
    assert all(ahead <= number + 2 for number, ahead in seen)


def test_ends_come_back_in_the_order_of_the_archive():
    with Ends() as ends:
        for number, error in ((2, ""), (0, "Märchen\n"), (-1, "no sensor"), (1, "")):
            ends.add(
                Mapped(f"s{number}", number=number, error=error), {"scene": number, "e": error}
            )

        assert [one["scene"] for one in ends] == [-1, 0, 1, 2]
        assert next(iter(ends))["e"] == "no sensor"
        assert (len(ends), ends.failed) == (4, 2)
        assert ends.titled("Maps") == "Maps"


def test_a_table_for_a_person_ends_where_nobody_reads_on():
    with Ends() as ends:
        for number in range(1500):
            ends.add(Mapped(f"s{number}", number=number), {"scene": number})

        assert [one["scene"] for one in ends.shown()] == list(range(200))
        assert ends.titled("Maps") == "Maps: the first 200 of 1,500; --json has all"


def test_a_scene_that_fails_is_told_of_unless_it_is_alone(capsys):
    for alone in (True, False):
        found = []
        telling = Telling(1, found.append, alone=alone)
        telling(Ready("a", said=("it is in degrees.",), error="Nothing is there."))

        told = capsys.readouterr().err
        assert "a: it is in degrees." in told
        assert ("a failed and is passed over: Nothing is there." in told) != alone
        assert [one.scene for one in found] == ["a"]
        if alone:
            with pytest.raises(GeosegError, match=r"Nothing is there\."):
                telling.refuse_alone()
        else:
            telling.refuse_alone()


@pytest.mark.parametrize(
    "rows", [[], [1], [{"a": float("nan"), "b": ["x\ny", {}], "ö": []}, {"c": {"d": None}}]]
)
def test_json_written_row_by_row_is_that_of_the_whole(capsys, rows):
    figures = {"before": {"x": [1, 2]}, "rows": rows, "failed": 2}
    show(Outcome(figures), as_json=True)
    whole = capsys.readouterr().out

    show(Outcome({**figures, "rows": iter(rows)}), as_json=True)

    assert capsys.readouterr().out == whole
    assert json.loads(whole)["failed"] == 2


def test_no_figures_are_an_empty_object(capsys):
    show(Outcome({}), as_json=True)

    assert capsys.readouterr().out == "{}\n"
