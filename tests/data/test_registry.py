import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import pytest

from geoseg.data import DataFile, DataSet, fetch, find_data_set, load_registry
from geoseg.data import registry as module
from geoseg.errors import ConfigError, DataError
from geoseg.files import sha256_of


@pytest.fixture
def tiny(tmp_path, monkeypatch):
    """A registry of one set of one file, which lies in a folder that serves as its mirror."""
    folder = tmp_path / "mirror" / "tiny_set"
    folder.mkdir(parents=True)
    file = folder / "a.tif"
    file.write_bytes(b"ice" * 1000)
    data = DataSet(
        name="tiny",
        title="Tiny",
        licence="CC0",
        source="https://example.org",
        base_url="http://127.0.0.1:9/",
        citation="Nobody 2000",
        mirror="tiny_set",
        files=(DataFile(path="a.tif", bytes=3000, sha256=sha256_of(file)),),
    )
    monkeypatch.setattr(module, "load_registry", lambda: {"tiny": data})
    monkeypatch.delenv("GEOSEG_DATA_MIRROR", raising=False)
    monkeypatch.setenv("GEOSEG_CACHE", str(tmp_path / "cache"))
    return data, folder


@pytest.fixture
def server(tiny, monkeypatch):
    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *_):
            pass

    handler = partial(Quiet, directory=str(tiny[1]))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as running:
        threading.Thread(target=running.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{running.server_port}/"
        fields = {f: getattr(tiny[0], f) for f in tiny[0].__slots__}
        monkeypatch.setattr(
            module, "load_registry", lambda: {"tiny": DataSet(**{**fields, "base_url": url})}
        )
        yield url
        running.shutdown()


def test_every_data_set_says_whose_it_is_and_what_it_hashes_to():
    registry = load_registry()

    assert {"everest", "athabasca"} <= set(registry)
    for data in registry.values():
        assert data.licence
        assert data.citation
        assert data.base_url.startswith("https://")
        assert data.files
        for file in data.files:
            assert len(bytes.fromhex(file.sha256)) == 32
            assert file.bytes > 0


def test_a_mirror_is_read_in_place(tiny, monkeypatch):
    monkeypatch.setenv("GEOSEG_DATA_MIRROR", str(tiny[1].parent))

    assert fetch("tiny") == tiny[1]


def test_one_changed_byte_in_a_mirror_is_found(tiny, monkeypatch):
    monkeypatch.setenv("GEOSEG_DATA_MIRROR", str(tiny[1].parent))
    content = bytearray((tiny[1] / "a.tif").read_bytes())
    content[1234] ^= 1
    (tiny[1] / "a.tif").write_bytes(content)

    with pytest.raises(DataError, match="has other bytes than the registry expects"):
        fetch("tiny")
    (tiny[1] / "a.tif").unlink()
    with pytest.raises(DataError, match="is missing; complete the mirror or unset"):
        fetch("tiny")


@pytest.mark.usefixtures("server")
def test_a_file_is_downloaded_once(tmp_path):
    told = []

    folder = fetch("tiny", on_file=told.append)
    fetch("tiny", on_file=told.append)

    assert folder == tmp_path / "cache" / "tiny"
    assert (folder / "a.tif").read_bytes() == b"ice" * 1000
    assert len(told) == 1


@pytest.mark.usefixtures("server")
def test_a_download_with_other_bytes_leaves_nothing(tiny, tmp_path):
    (tiny[1] / "a.tif").write_bytes(b"changed at its source")

    with pytest.raises(DataError, match="it changed at its source"):
        fetch("tiny")

    assert not (tmp_path / "cache" / "tiny" / "a.tif").exists()


@pytest.mark.usefixtures("tiny")
def test_without_a_network_the_way_out_is_named():
    with pytest.raises(DataError, match="get it on a machine with a network and name its folder"):
        fetch("tiny")


def test_an_unknown_data_set_is_answered_with_the_nearest_one():
    with pytest.raises(ConfigError, match=r"no data set named 'everst'\. Did you mean 'everest'"):
        find_data_set("everst")
