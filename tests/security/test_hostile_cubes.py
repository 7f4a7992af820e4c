"""A cube of somebody else runs nothing: Zarr may name a codec that unpickles what it reads."""

import json
import pickle
from pathlib import Path

import pytest
from numcodecs import pickles

from geoseg.errors import OutputError, SceneError
from geoseg.landcover.ground import open_cube
from geoseg.pivot.storage import open_store
from geoseg.pivot.storage.arrays import require_plain

PICKLE = {"id": "pickle", "protocol": 4}
HOSTILE = {
    "filter": {"dtype": "|O", "filters": [{"id": "vlen-utf8"}, PICKLE], "compressor": None},
    "compressor": {"dtype": "|O", "filters": [{"id": "vlen-utf8"}], "compressor": PICKLE},
    "plain": {"dtype": "<f4", "filters": None, "compressor": PICKLE},
    "objects": {"dtype": "|O", "filters": [PICKLE], "compressor": None},
}


class Touch:
    """Unpickling it makes a file."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


def write_hostile(folder, form, touched):
    array = {"zarr_format": 2, "shape": [1], "chunks": [1], "fill_value": "", "order": "C"}
    (folder / "x").mkdir(parents=True)
    (folder / ".zgroup").write_text('{"zarr_format": 2}')
    (folder / "x" / ".zarray").write_text(json.dumps(array | form))
    (folder / "x" / ".zattrs").write_text('{"_ARRAY_DIMENSIONS": ["x"]}')
    (folder / "x" / "0").write_bytes(pickle.dumps(Touch(touched)))


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kind", HOSTILE)
def test_a_cube_with_a_pickle_is_refused_before_anything_is_read(tmp_path, monkeypatch, kind):
    # As numcodecs was before it refused by itself.
    monkeypatch.setattr(pickles, "ALLOW_UNSAFE_PICKLE_DECODE", True, raising=False)
    write_hostile(tmp_path / "e.zarr", HOSTILE[kind], tmp_path / "touched")

    with pytest.raises(SceneError, match=r"e\.zarr is no cube that can be read"):
        open_cube(tmp_path / "e.zarr")
    with pytest.raises(OutputError, match=r"e\.zarr is no pivot"):
        open_store(tmp_path / "e.zarr")

    assert not (tmp_path / "touched").exists()


BROKEN = [
    "",
    "[]",
    "{}",
    "null",
    "[" * 10_000,
    '{"compressor": "a", "filters": null}',
    '{"compressor": null, "filters": [1]}',
    '{"compressor": {"id": []}, "filters": 7}',
]


@pytest.mark.parametrize("text", BROKEN)
def test_an_array_that_does_not_say_how_it_is_stored_is_refused(tmp_path, text):
    (tmp_path / "x").mkdir()
    (tmp_path / "x" / ".zarray").write_text(text)

    with pytest.raises(ValueError, match=r".+"):
        require_plain(tmp_path)
