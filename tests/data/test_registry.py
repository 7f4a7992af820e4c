import io
import logging
import os
import shutil
import threading
from dataclasses import replace
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pooch
import pytest

from geoseg.data import DataFile, DataSet, fetch, find_data_set, load_registry
from geoseg.data import registry as module
from geoseg.data.labelled import labelled_everest
from geoseg.errors import ConfigError, DataError
from geoseg.files import sha256_of
from geoseg.labels import place_labels, read_outlines
from geoseg.scenes import open_raster, open_scene

NAMED = os.environ.get("GEOSEG_DATA_MIRROR", "")
ICE = b"ice" * 1000
NESTED = "user #2/b c.shp"  # a fragment and a space, unless they are quoted


@pytest.fixture
def tiny(tmp_path, monkeypatch):
    """A registry of one set of two files, which lie in a folder that serves as its mirror."""
    folder = tmp_path / "mirror" / "tiny_set"
    for path, content in (("a.tif", ICE), (NESTED, b"slump")):
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(content)
    data = DataSet(
        name="tiny",
        title="Tiny",
        licence="CC0",
        source="https://example.org",
        base_url="http://127.0.0.1:9/",
        citation="Nobody 2000",
        mirror="tiny_set",
        files=tuple(
            DataFile(path=path, bytes=1, sha256=sha256_of(folder / path))
            for path in ("a.tif", NESTED)
        ),
    )
    monkeypatch.setattr(module, "load_registry", lambda: {"tiny": data})
    monkeypatch.delenv("GEOSEG_DATA_MIRROR", raising=False)
    monkeypatch.setenv("GEOSEG_CACHE", str(tmp_path / "cache"))
    return data, folder


@pytest.fixture
def server(tiny, monkeypatch):
    """Serves the files of the tiny set; ends when called."""

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *_):
            pass

    handler = partial(Quiet, directory=str(tiny[1]))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as running:
        thread = threading.Thread(target=running.serve_forever, daemon=True)
        thread.start()
        served = replace(tiny[0], base_url=f"http://127.0.0.1:{running.server_port}/")
        monkeypatch.setattr(module, "load_registry", lambda: {"tiny": served})

        def end():
            running.shutdown()
            running.server_close()
            thread.join()

        yield end
        end()


def everest():
    if not NAMED or not (Path(NAMED) / "everest_landsat7").is_dir():
        pytest.skip("needs the set everest in a mirror named by GEOSEG_DATA_MIRROR")
    return fetch("everest")


def test_every_data_set_says_whose_it_is_and_what_it_hashes_to():
    registry = load_registry()

    assert {"everest", "athabasca", "gnp-glaciers", "hkh-lakes", "liligo"} <= set(registry)
    for name, data in registry.items():
        assert data.name == name
        assert data.title
        assert data.licence
        assert data.citation
        assert data.mirror
        assert data.source.startswith("https://")
        assert data.files
        assert len({file.path for file in data.files}) == len(data.files)
        for file in data.files:
            assert len(bytes.fromhex(file.sha256)) == 32
            assert file.bytes > 0


def test_every_file_has_an_address_that_cannot_change_or_its_set_says_why_not():
    for data in load_registry().values():
        if not data.base_url:
            assert data.note
            with pytest.raises(DataError, match=f"{data.name} cannot be downloaded"):
                data.url_of(data.files[0])
            continue
        for url in map(data.url_of, data.files):
            host, _owner, _name, commit, _path = url.removeprefix("https://").split("/", maxsplit=4)
            assert host == "raw.githubusercontent.com"
            assert len(bytes.fromhex(commit)) == 20
            assert "#" not in url


def test_a_file_may_lie_elsewhere_than_the_rest_of_its_set(tiny):
    here = tiny[0].files[0]
    there = replace(here, url="https://example.org/old/a.tif")

    assert tiny[0].url_of(here) == "http://127.0.0.1:9/a.tif"
    assert tiny[0].url_of(there) == "https://example.org/old/a.tif"


@pytest.mark.parametrize("name", list(load_registry()))
def test_the_files_of_a_mirror_are_those_of_the_registry(name):
    data = find_data_set(name)
    if not NAMED or not (Path(NAMED) / data.mirror).is_dir():
        pytest.skip(f"needs the set {name} in a mirror named by GEOSEG_DATA_MIRROR")

    folder = fetch(name)

    assert folder == Path(NAMED) / data.mirror
    assert all((folder / file.path).stat().st_size == file.bytes for file in data.files)


def test_a_mirror_is_read_in_place(tiny, monkeypatch, tmp_path):
    monkeypatch.setenv("GEOSEG_DATA_MIRROR", str(tiny[1].parent))

    assert fetch("tiny") == tiny[1]
    assert not (tmp_path / "cache").exists()


def test_one_changed_byte_in_a_mirror_is_found(tiny, monkeypatch):
    monkeypatch.setenv("GEOSEG_DATA_MIRROR", str(tiny[1].parent))
    content = bytearray(ICE)
    content[1234] ^= 1
    (tiny[1] / "a.tif").write_bytes(content)

    with pytest.raises(DataError, match=r"a\.tif has other bytes than the registry expects; fetch"):
        fetch("tiny")


def test_a_file_missing_from_a_mirror_is_named(tiny, monkeypatch):
    monkeypatch.setenv("GEOSEG_DATA_MIRROR", str(tiny[1].parent))
    (tiny[1] / NESTED).unlink()

    with pytest.raises(DataError, match=r"b c\.shp is missing; complete the mirror or unset"):
        fetch("tiny")


@pytest.mark.usefixtures("tiny")
def test_a_mistyped_mirror_is_named_and_nothing_is_downloaded(tmp_path, monkeypatch):
    monkeypatch.setenv("GEOSEG_DATA_MIRROR", str(tmp_path / "miror"))

    with pytest.raises(DataError, match="miror, which is no folder; correct or unset it"):
        fetch("tiny")


@pytest.mark.usefixtures("server")
def test_a_set_that_the_mirror_does_not_hold_is_downloaded(tmp_path, monkeypatch):
    (tmp_path / "other").mkdir()
    monkeypatch.setenv("GEOSEG_DATA_MIRROR", str(tmp_path / "other"))

    assert fetch("tiny") == tmp_path / "cache" / "tiny"


def test_a_set_is_downloaded_once_and_then_needs_no_network(tmp_path, server):
    told = []

    folder = fetch("tiny", on_file=told.append)
    server()
    fetch("tiny", on_file=told.append)

    assert folder == tmp_path / "cache" / "tiny"
    assert (folder / "a.tif").read_bytes() == ICE
    assert (folder / NESTED).read_bytes() == b"slump"
    assert len(told) == 2


@pytest.mark.usefixtures("server")
def test_a_download_is_told_to_nobody_but_the_caller(monkeypatch):
    logger, said = pooch.get_logger(), io.StringIO()
    monkeypatch.setattr(logger, "handlers", [logging.StreamHandler(said)])
    logger.setLevel("INFO")

    fetch("tiny")

    assert said.getvalue() == ""


@pytest.mark.usefixtures("server")
def test_a_file_of_the_cache_that_was_damaged_is_downloaded_again():
    damaged = fetch("tiny") / "a.tif"
    damaged.write_bytes(ICE[:-1])

    fetch("tiny")

    assert damaged.read_bytes() == ICE


@pytest.mark.usefixtures("server")
def test_a_download_with_other_bytes_leaves_nothing(tiny, tmp_path):
    (tiny[1] / "a.tif").write_bytes(b"changed at its source")

    with pytest.raises(DataError, match="gave other bytes than the registry expects; try again"):
        fetch("tiny")

    assert [path for path in (tmp_path / "cache").rglob("*") if path.is_file()] == []


@pytest.mark.usefixtures("server")
def test_a_file_that_left_its_source_is_answered_with_the_code(tiny):
    (tiny[1] / "a.tif").unlink()

    with pytest.raises(
        DataError, match=r"a\.tif cannot be fetched \(HTTP 404\); try again, or get"
    ):
        fetch("tiny")


@pytest.mark.usefixtures("tiny")
def test_without_a_network_the_way_out_is_named():
    with pytest.raises(
        DataError,
        match=r"\(ConnectionError\).* GEOSEG_DATA_MIRROR a folder that holds it as tiny_set/",
    ):
        fetch("tiny")


@pytest.mark.usefixtures("tiny")
def test_a_cache_that_cannot_be_written_is_named(tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setenv("GEOSEG_CACHE", str(tmp_path / "file"))

    with pytest.raises(DataError, match=r"cannot be written .* another folder by GEOSEG_CACHE"):
        fetch("tiny")


def test_a_set_of_mirrors_only_says_what_it_was_made_from(monkeypatch):
    monkeypatch.delenv("GEOSEG_DATA_MIRROR", raising=False)

    with pytest.raises(
        DataError, match=r"liligo cannot be downloaded\. .* holds it as liligo_debris/"
    ):
        fetch("liligo")


def test_an_unknown_data_set_is_answered_with_the_nearest_one():
    with pytest.raises(ConfigError, match=r"no data set named 'everst'\. Did you mean 'everest'"):
        find_data_set("everst")


def test_the_bands_of_everest_are_in_the_order_of_their_names():
    scene = labelled_everest(everest()).scene
    dark = {}
    with open_raster(scene.asset("nir08").path) as raster:
        nir = raster.read(1)

    for name in ("red", "green", "blue"):
        asset = scene.asset(name)
        with open_raster(asset.path) as raster:
            dark[name] = raster.read(asset.index)[nir < 30].mean()

    # Shadow is lit by the sky alone, and the sky is blue.
    assert nir.mean() > 60
    assert dark["red"] < dark["green"] < dark["blue"]


def test_the_outlines_of_everest_cover_half_of_its_scene():
    labelled = labelled_everest(everest())
    outlines = read_outlines(
        labelled.outlines, labelled.scheme, layer=labelled.layer, class_of=labelled.class_of
    )

    with open_scene(labelled.scene) as reader:
        grid = reader.grid
    burnt = place_labels(outlines, grid, labelled.scheme).burn(grid)

    # 54.0 %, measured with rasterio 1.4 and geopandas 1.1 on the whole frame.
    assert grid.shape == (655, 800)
    assert np.mean(burnt == 1) == pytest.approx(0.540, abs=0.002)


def test_the_fingerprint_of_a_labelled_scene_changes_with_a_byte_of_it(tmp_path):
    folder = shutil.copytree(everest(), tmp_path / "copy")
    before = labelled_everest(folder).fingerprint()

    with (folder / "LE71400412000304SGS00_B4.tif").open("ab") as file:
        file.write(b"0")

    assert before == labelled_everest(everest()).fingerprint()
    assert before != labelled_everest(folder).fingerprint()
