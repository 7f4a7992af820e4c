"""Shards of somebody else: what is wrong in them is told, place by place; labels beside them."""

import io
import os
import tarfile
from datetime import UTC, datetime

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from command_line import geoseg_here
from PIL import Image

from geoseg.errors import DataError
from geoseg.presence.packs import Foreign, ImageKind, Problem, read_pack, read_shard
from geoseg.presence.packs.pixels import MOST_BYTES
from geoseg.presence.packs.read import read_stored

DAY = datetime(2021, 7, 1, tzinfo=UTC)
RGB = ImageKind(sensor_id="sentinel-2", bands=("red", "green", "blue"), gsd_m=10.0)
THEIRS = Foreign(RGB, DAY)
CHIPS = ["--sensor", "sentinel-2", "--bands", "red,green,blue", "--date", "2021-07"]


def png(seed=0):
    pixels = np.random.default_rng(seed).integers(1, 255, (8, 12, 3), dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


def tar(path, members, **options):
    with tarfile.open(path, "w", **options) as file:
        for name, content in members.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            file.addfile(member, io.BytesIO(content))
    return path


def table(path, *rows):
    image = {"image": bytes(192), "height": 8, "width": 8, "dtype": "|u1"}
    said = {"time": DAY, "sensor": "sentinel-2", "bands": list(RGB.bands), "gsd_m": 10.0}
    pq.write_table(pa.Table.from_pylist([image | said | row for row in rows]), path)
    return path


def found_in(path):
    """Places, and reasons of problems, by key."""
    places = list(read_stored(path, THEIRS))
    told = {place.key: place.reason for place in places if isinstance(place, Problem)}
    return {place.id: place for place in places if not isinstance(place, Problem)}, told


def test_what_is_present_is_read_as_people_write_it_and_nothing_else(tmp_path):
    said = {"a": '"no"', "b": '"false"', "c": "NaN", "d": "1", "e": "true", "f": '"maybe"'}
    members = {}
    for key, value in said.items():
        members |= {f"{key}.png": png(), f"{key}.json": f'{{"present": {value}}}'.encode()}

    places, told = found_in(tar(tmp_path / "a.tar", members))

    present = {key: place.present for key, place in places.items()}
    assert present == {"a": False, "b": False, "c": None, "d": True, "e": True}
    assert told == {"f": "present = 'maybe' is neither true nor false; write one of them."}


def test_a_table_may_say_in_words_what_is_present(tmp_path):
    rows = [{"id": "a", "present": "no"}, {"id": "b", "present": "maybe"}, {"id": "c"}]

    places, told = found_in(table(tmp_path / "a.parquet", *rows))

    assert {key: place.present for key, place in places.items()} == {"a": False, "c": None}
    assert "'maybe' is neither true nor false" in told["b"]


@pytest.mark.parametrize(("lon", "lat"), [(500, 60), (10, 91), (float("inf"), 60), ("east", 60)])
def test_a_position_that_is_none_is_told_of(tmp_path, lon, lat):
    about = f'{{"lon": {lon!r}, "lat": {lat}}}'.replace("inf", "1e999").replace("'", '"')
    nowhere = tar(tmp_path / "a.tar", {"a.json": about.encode(), "a.png": png(), "b.png": png()})

    places, told = found_in(nowhere)

    assert list(places) == ["b"]
    assert np.isnan(places["b"].lon)
    wrong = "'east' is no longitude" if lon == "east" else "it lies nowhere on Earth"
    assert wrong in told["a"]
    if lon != "east":
        rows = [{"id": "a", "lon": float(lon), "lat": float(lat)}, {"id": "b", "lon": float("nan")}]
        places, told = found_in(table(tmp_path / "a.parquet", *rows))
        assert list(places) == ["b"]
        assert wrong in told["a"]


def test_a_place_with_a_member_that_is_too_large_is_left_out_whole(tmp_path):
    large = bytes(MOST_BYTES + 1)
    members = {"a.0.png": png(), "a.1.npy": large, "a.json": b"{}", "b.png": png()}

    places, told = found_in(tar(tmp_path / "a.tar", members))

    assert list(places) == ["b"]
    assert told == {"a": f"a.1.npy ({len(large)} bytes) is no file of up to 64 MiB."}


def mask(ids):
    file = io.BytesIO()
    Image.fromarray(np.asarray(ids, dtype=np.uint8)).save(file, "PNG")
    return file.getvalue()


def test_masks_of_somebody_else_stay_with_their_images(tmp_path):
    one, two = (mask(np.full((8, 12), value)) for value in (1, 0))
    members = {"a.png": png(1), "a.mask.png": one, "b.rgb.png": png(2), "b.mask.png": two}
    members |= {"c.0.png": png(3), "c.1.png": png(4), "c.1.mask.png": one}

    places, told = found_in(tar(tmp_path / "a.tar", members))

    masks = {key: [image.mask for image in place.images] for key, place in places.items()}
    assert masks == {"a": [one], "b": [two], "c": [None, one]}
    assert not told


def test_a_mask_that_may_be_of_any_image_is_told_of_and_its_place_is_packed(tmp_path):
    (tmp_path / "theirs").mkdir()
    members = {"a.0.png": png(1), "a.1.png": png(2), "a.mask.png": mask(np.ones((8, 12)))}
    tar(tmp_path / "theirs" / "a.tar", members)

    done = geoseg_here("presence", "pack", tmp_path / "theirs", *CHIPS, "--out", tmp_path / "pack")

    assert done.returncode == 1
    assert "a: mask.png is the mask of none of its images; name it after one." in done.stderr
    assert len(read_all(tmp_path / "pack")["a"].images) == 2


def test_what_is_no_type_of_numbers_costs_no_other_place(tmp_path):
    rows = [{"id": "a", "dtype": "(1,"}, {"id": "b", "dtype": "f8,("}, {"id": "c"}]

    places, told = found_in(table(tmp_path / "a.parquet", *rows))

    assert list(places) == ["c"]
    assert set(told) == {"a", "b"}


@pytest.mark.parametrize("size", [b"-1000".ljust(12, b"\0"), b"\xff" * 10 + b"\xfc\x18"])
def test_a_member_of_negative_size_ends_in_a_sentence(tmp_path, size):
    path = tar(tmp_path / "a.tar", {"a.png": png(), "b.png": png()})
    content = bytearray(path.read_bytes())
    at = content.find(b"b.png")
    content[at + 124 : at + 136] = size
    content[at + 148 : at + 156] = b" " * 8
    content[at + 148 : at + 156] = b"%06o\0 " % sum(content[at : at + 512])
    path.write_bytes(content)

    with pytest.raises(DataError, match=r"a\.tar cannot be read to its end"):
        list(read_stored(path, THEIRS))


def test_names_that_are_no_utf8_are_told_of_and_the_others_are_packed(tmp_path):
    theirs = tmp_path / "theirs"
    theirs.mkdir()
    members = {
        "good.png": png(),
        "caf\xe9.png": png(),
        "a.json": rb'{"id": "\udcff"}',
        "a.png": png(),
    }
    tar(theirs / "a.tar", members, format=tarfile.GNU_FORMAT, encoding="latin-1")
    misnamed = os.fsencode(theirs) + b"/b\xff.tar"
    with open(misnamed, "wb"):  # noqa: PTH123  pathlib takes no bytes
        pass
    (theirs / "gone.tar").symlink_to(tmp_path / "nowhere")

    done = geoseg_here("presence", "pack", theirs, *CHIPS, "--out", tmp_path / "pack")

    assert done.returncode == 1
    assert r"caf\udce9: its name is no UTF-8; rename it." in done.stderr
    assert r"\udcff: its name is no UTF-8; rename it." in done.stderr
    assert r"b'b\xff.tar' is no UTF-8; rename it." in done.stderr
    assert "gone.tar: it is no file, or leads to none." in done.stderr
    pack = read_pack(tmp_path / "pack")
    read = list(read_shard(pack.shards[0], pack))
    assert [place.id for place in read if not isinstance(place, Problem)] == ["good"]
    for problem in read[1:]:
        problem.key.encode("utf-8")


@pytest.fixture
def theirs(tmp_path):
    """Two shards, of places a, b and c; b says that it is absent."""
    folder = tmp_path / "theirs"
    folder.mkdir()
    tar(folder / "x.tar", {"a.png": png(1), "b.png": png(2), "b.cls": b"0"})
    tar(folder / "y.tar", {"c.png": png(3)})
    return folder


def read_all(folder):
    pack = read_pack(folder)
    return {place.id: place for shard in pack.shards for place in read_shard(shard, pack)}


def test_a_table_of_labels_is_used_for_shards_that_stay_where_they_are(theirs, tmp_path):
    labels, out = tmp_path / "labels.csv", tmp_path / "pack"
    before = {path.name: path.read_bytes() for path in theirs.iterdir()}
    labels.write_text("chip_id,present,lon,lat\na,1,10.5,60.25\nb,,20,70\ngone,no,,\n")

    done = geoseg_here("presence", "pack", theirs, *CHIPS, "--labels", labels, "--out", out)

    assert done.returncode == 1
    assert "gone: a label of a place that is in no shard." in done.stderr
    found = read_all(out)
    assert {key: place.present for key, place in found.items()} == {
        "a": True,
        "b": False,
        "c": None,
    }
    assert (found["a"].lon, found["b"].lat) == (10.5, 70)
    assert np.isnan(found["c"].lon)
    assert {path.name: path.read_bytes() for path in theirs.iterdir()} == before
    assert "gone" not in (out / "pack.json").read_text()

    digest = read_pack(out).digest
    labels.write_text("chip_id,present\na,0\n")
    again = geoseg_here("presence", "pack", theirs, *CHIPS, "--labels", labels, "--out", out)

    assert again.returncode == 0
    assert read_all(out)["a"].present is False
    assert read_pack(out).digest != digest


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--per-shard", 2000], "--per-shard and --format are of new shards"),
        (["--format", "webdataset"], "--per-shard and --format are of new shards"),
        (["--labels", "dated.csv"], "dated.csv has times or sensors"),
    ],
)
def test_options_that_shards_cannot_follow_are_refused(theirs, tmp_path, arguments, said):
    (tmp_path / "dated.csv").write_text("chip_id,present,time\na,1,2020\n")

    done = geoseg_here("presence", "pack", theirs, *CHIPS, *arguments, cwd=tmp_path)

    assert done.returncode == 2
    assert said in done.stderr
