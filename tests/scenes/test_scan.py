import csv
import json
import shutil
from datetime import UTC, datetime

import fake_products as fake
import pytest
from conftest import scene_of
from typer.testing import CliRunner

from geoseg.cli import app
from geoseg.errors import ConfigError, SensorError
from geoseg.scenes import (
    ProblemKind,
    open_scene,
    problems_beside,
    read_catalog,
    read_problems,
    scan_folders,
    write_scene,
)

pytestmark = pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")


def command(*arguments):
    return CliRunner().invoke(app, ["catalog", *map(str, arguments)])


def scan(*folders, **options):
    steps = list(scan_folders(folders, **options))
    entries = [entry for step in steps for entry in step.entries]
    return entries, [one for step in steps for one in step.broken], steps


@pytest.fixture
def archive(tmp_path):
    """One product of each family, and what cannot be mapped."""
    folder = tmp_path / "archive"
    fake.make_landsat(folder / "landsat", pan=True)
    fake.make_safe(folder / "sentinel")
    fake.make_pleiades(folder / "phr")
    fake.make_spot5(folder / "spot")
    fake.ones(folder / "film" / "DZB1216-500280L002001_ortho.tif")
    fake.ones(folder / "film" / "DS1112-1023DA012_a.tif", crs=None, origin=(0, 0), pixel=1)
    fake.ones(folder / "plain" / "uav_2019-08-14.tif", count=4)
    fake.ones(folder / "plain" / "uav.tif", count=4)
    raster = fake.ones(folder / "items" / "etm.tif", count=2)
    write_scene(scene_of(raster), folder / "items" / "etm.json")
    return folder


def test_a_folder_of_mixed_products_becomes_a_catalogue(archive, tmp_path):
    out = tmp_path / "all.parquet"

    run = command("scan", archive, "--sensor", "planetscope-dove", "--out", out, "--json")

    found, broken = read_catalog(out)
    assert broken == ()
    assert {e.scene.id: (e.scene.sensor_id, len(e.scene.bands)) for e in found} == {
        "etm": ("landsat-7", 2),
        fake.LANDSAT: ("landsat-8", 2),
        f"{fake.LANDSAT}_PAN": ("landsat-8", 1),
        fake.SAFE: ("sentinel-2", 4),
        f"DS_{fake.PHR}": ("pleiades-1a", 4),
        "SCENE 5 209-279 05/09/12 05:02:11 1 J": ("spot-5", 4),
        "DZB1216-500280L002001_ortho": ("hexagon-kh9-mapping", 1),
        "uav_2019-08-14": ("planetscope-dove", 4),
    }
    for entry in found:
        with open_scene(entry.scene) as reader:
            assert reader.grid.shape.x > 0
    (landsat,) = (e.scene for e in found if e.scene.id == fake.LANDSAT)
    assert landsat.cloud_percent == 12.34
    assert landsat.metadata.resolve().name == f"{fake.LANDSAT}_MTL.json"
    assert landsat.quality.path.is_file()
    problems = {(p.id, p.kind) for p in read_problems(problems_beside(out))}
    assert problems == {
        ("film/DS1112-1023DA012_a.tif", ProblemKind.UNPLACED),
        ("plain/uav.tif", ProblemKind.UNREADABLE),
    }
    assert run.exit_code == 1
    assert json.loads(run.stdout)["problems"] == {"not georeferenced": 1, "unreadable": 1}


def test_film_without_georeference_is_told_of_with_what_places_it(archive, tmp_path):
    film = archive / "film"

    run = command("scan", film, "--out", tmp_path / "film.parquet")

    assert run.exit_code == 0
    assert "make an orthoimage with spymicmac (Hexagon, aerial frames) or ASP" in run.stderr
    (entry,) = read_catalog(tmp_path / "film.parquet").entries
    assert (entry.scene.start, entry.scene.end) == (
        datetime(1980, 6, 18, tzinfo=UTC),
        datetime(1981, 3, 7, tzinfo=UTC),
    )


def test_of_versions_the_newest_that_can_be_read_is_taken(tmp_path):
    old = fake.LANDSAT.replace("20200906", "20160901")
    fake.make_landsat(tmp_path / "a", old)
    newest = fake.make_landsat(tmp_path / "b")
    shutil.copytree(newest, tmp_path / "c" / newest.name)

    entries, broken, _ = scan(tmp_path)

    assert [e.scene.id for e in entries] == [fake.LANDSAT]
    assert [b.kind for b in broken] == [ProblemKind.DUPLICATE] * 2
    assert broken[-1].id == f"a/{old}/{old}_MTL.json"
    assert "is another version of b/" in broken[-1].reason
    for copy in ("b", "c"):
        (tmp_path / copy / newest.name / f"{newest.name}_MTL.json").write_text("{")
        (tmp_path / copy / newest.name / f"{newest.name}_MTL.txt").unlink()
    entries, broken, _ = scan(tmp_path)
    assert [e.scene.id for e in entries] == [old]
    assert [b.kind for b in broken] == [ProblemKind.UNREADABLE] * 2


def test_what_holds_one_id_twice_is_a_duplicate_or_a_mistake(tmp_path):
    for name in ("a", "b", "c"):
        raster = fake.ones(tmp_path / name / "x.tif", count=2)
        sensor = "landsat-5" if name == "c" else "landsat-7"
        write_scene(scene_of(raster, sensor=sensor), tmp_path / name / "x.json")

    entries, broken, _ = scan(tmp_path)

    assert len(entries) == 1
    assert [(b.id, b.kind) for b in broken] == [
        ("b/x.json", ProblemKind.DUPLICATE),
        ("c/x.json", ProblemKind.UNREADABLE),
    ]
    assert broken[1].reason.endswith("and so does a/x.json; give each an id of its own.")


@pytest.mark.parametrize("kind", ["landsat", "safe", "dimap", "film"])
def test_a_product_that_was_cut_short_is_told_of_and_leaves_the_others(tmp_path, kind):
    fake.make_landsat(tmp_path / "good")
    if kind == "landsat":
        band = fake.make_landsat(tmp_path / "bad", fake.LANDSAT.replace("140041", "140042"))
        next(band.glob("*_B4.TIF")).write_bytes(b"II*\0")
    elif kind == "safe":
        (fake.make_safe(tmp_path / "bad") / "MTD_MSIL2A.xml").write_text("<a><b></a>")
    elif kind == "dimap":
        path = fake.make_pleiades(tmp_path / "bad")
        path.write_text(path.read_text()[:900])
    else:
        fake.ones(tmp_path / "bad" / "DZB1216-500280L002001.tif").write_bytes(b"")

    entries, broken, _ = scan(tmp_path)

    assert [e.scene.id for e in entries] == [fake.LANDSAT]
    assert [b.kind for b in broken] == [ProblemKind.UNREADABLE]
    assert broken[0].id.startswith("bad/")
    assert broken[0].reason.endswith(".")


def test_products_without_their_description_are_told_of_once(tmp_path):
    folder = fake.make_landsat(tmp_path)
    for path in folder.glob("*_MTL.*"):
        path.unlink()
    (fake.make_safe(tmp_path) / "MTD_MSIL2A.xml").unlink()

    entries, broken, _ = scan(tmp_path)

    assert entries == []
    assert sorted(b.reason.split(" has no ")[1].split(",")[0] for b in broken) == [
        "MTD_MSIL1C.xml or MTD_MSIL2A.xml",
        "MTL",
    ]


def test_files_of_items_are_not_looked_at_again_and_maps_beside_them_are_passed_over(tmp_path):
    raster = fake.ones(tmp_path / "etm_20001030.tif", count=2)
    write_scene(scene_of(raster), tmp_path / "etm.json")
    fake.ones(tmp_path / "labels.tif")

    entries, broken, steps = scan(tmp_path)

    assert [e.scene.id for e in entries] == ["etm_20001030"]
    assert [(b.id, b.kind) for b in broken] == [("labels.tif", ProblemKind.PASSED_OVER)]
    assert (steps[-1].done, steps[-1].total) == (3, 3)


def test_folders_that_overlap_are_scanned_once(tmp_path):
    fake.make_landsat(tmp_path / "a")
    (tmp_path / "link").symlink_to(tmp_path / "a")

    entries, broken, _ = scan(tmp_path, tmp_path / "a", tmp_path / "link")

    assert (len(entries), broken) == (1, [])


def test_a_folder_of_links_is_scanned_and_loops_end(tmp_path):
    fake.make_landsat(tmp_path / "disk" / "a")
    (tmp_path / "archive").mkdir()
    (tmp_path / "archive" / "link").symlink_to(tmp_path / "disk")
    (tmp_path / "disk" / "back").symlink_to(tmp_path / "archive")

    entries, broken, _ = scan(tmp_path / "archive")

    assert (len(entries), broken) == (1, [])


def test_an_unknown_sensor_is_refused_before_anything_is_read(tmp_path):
    with pytest.raises(SensorError, match="no sensor named 'landsat-77'"):
        next(scan_folders([tmp_path], sensor="landsat-77"))


def test_without_a_scene_the_problems_are_written_and_no_catalogue(tmp_path):
    fake.ones(tmp_path / "in" / "a.tif")

    run = command("scan", tmp_path / "in", "--out", tmp_path / "c.parquet")

    assert isinstance(run.exception, ConfigError)
    assert "holds no scene that can be read" in str(run.exception)
    assert not (tmp_path / "c.parquet").exists()
    with (tmp_path / "c.problems.csv").open() as file:
        (row,) = csv.DictReader(file)
    assert (row["path"], row["kind"]) == ("a.tif", "unreadable")


def test_show_counts_what_a_catalogue_holds(archive, tmp_path):
    out = tmp_path / "all.parquet"
    command("scan", archive, "--out", out)

    shown = json.loads(command("show", out, "--json").stdout)

    assert shown["scenes"] == 7
    assert shown["by_sensor"]["landsat-8"] == 2
    assert shown["by_year"]["2016"] == 2
    assert (shown["first"], shown["last"]) == ("1980-06-18", "2020-09-09")
    assert shown["problems"] == {"not georeferenced": 1, "unreadable": 2}
    west, south, east, north = shown["bbox"]
    assert 85.9 < west < 86 < east < 87.1
    assert 27.9 < south < north < 28.1
