"""Packing into a folder that holds a pack: of the same source it follows, another is refused."""

import io

import numpy as np
import pytest
from command_line import geoseg_here
from PIL import Image

from geoseg.errors import DataError
from geoseg.presence.packs import build, read_pack, read_shard
from geoseg.scale import Manifest

CHIPS = ["--sensor", "sentinel-2", "--bands", "red,green,blue", "--date", "2021-07"]


def png(seed):
    pixels = np.random.default_rng(seed).integers(1, 255, (8, 12, 3), dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


def chips_in(folder, names):
    folder.mkdir()
    for number, name in enumerate(names):
        (folder / f"{name}.png").write_bytes(png(number))
    return folder


def pack(source, out, *options):
    said = [] if (source / "000000.tar").exists() else CHIPS
    return geoseg_here("presence", "pack", source, *said, *options, "--out", out)


def ids_of(out):
    made = read_pack(out)
    return [place.id for shard in made.shards for place in read_shard(shard, made)]


def shards_of(out):
    return sorted(path.name for path in out.iterdir() if path.suffix in {".tar", ".parquet"})


@pytest.mark.parametrize(
    ("options", "left"),
    [
        (["--per-shard", 4], ["000000.tar", "000001.tar"]),
        (["--per-shard", 4, "--format", "parquet"], ["000000.parquet", "000001.parquet"]),
    ],
)
def test_shards_that_are_no_part_of_a_pack_any_more_are_deleted(tmp_path, options, left):
    chips, out = chips_in(tmp_path / "chips", "abcdef"), tmp_path / "pack"
    pack(chips, out, "--per-shard", 1)
    assert len(shards_of(out)) == 6

    done = pack(chips, out, *options)

    assert done.returncode == 0
    assert shards_of(out) == left
    assert ids_of(out) == list("abcdef")


def test_shards_that_geoseg_has_not_made_stay(tmp_path):
    chips, out = chips_in(tmp_path / "chips", "abc"), tmp_path / "pack"
    pack(chips, out, "--per-shard", 1)
    for name in ("000007.tar", "theirs.parquet"):
        (out / name).write_bytes(b"theirs")

    pack(chips, out)

    assert shards_of(out) == ["000000.tar", "000007.tar", "theirs.parquet"]


def test_shards_may_be_described_where_they_lie(tmp_path):
    theirs = tmp_path / "theirs"
    pack(chips_in(tmp_path / "chips", "ab"), tmp_path / "own", "--per-shard", 1)
    theirs.mkdir()
    for name in shards_of(tmp_path / "own"):
        (theirs / name).write_bytes((tmp_path / "own" / name).read_bytes())
    pack(theirs, theirs)
    assert ids_of(theirs) == ["a", "b"]
    (theirs / "000001.tar").unlink()

    done = pack(theirs, theirs)

    assert done.returncode == 0
    assert ids_of(theirs) == ["a"]
    assert [path.name for path in (theirs / "described").iterdir()] == ["000000.json"]


def test_a_pack_of_another_folder_is_refused_and_stays(tmp_path):
    one, two = (chips_in(tmp_path / name, letters) for name, letters in (("1", "ab"), ("2", "cd")))
    out = tmp_path / "pack"
    pack(one, out)

    done = pack(two, out)

    assert done.returncode == 2
    said = " ".join(done.stderr.split())
    assert f"holds another pack, of {one}; name a folder of its own, or delete it." in said
    assert ids_of(out) == ["a", "b"]


def test_one_folder_named_in_several_ways_is_one(tmp_path):
    chips = chips_in(tmp_path / "chips", "ab")
    (tmp_path / "link").symlink_to(chips)
    out = tmp_path / "pack"
    pack(chips, out)
    made = (out / "000000.tar").stat().st_mtime_ns

    for name in (tmp_path / "other" / ".." / "chips", tmp_path / "link"):
        (tmp_path / "other").mkdir(exist_ok=True)
        done = pack(name, out)

        assert done.returncode == 0, done.stderr
        assert (out / "000000.tar").stat().st_mtime_ns == made


def test_shards_named_in_several_ways_are_described_once(tmp_path):
    pack(chips_in(tmp_path / "chips", "ab"), tmp_path / "own")
    (tmp_path / "link").symlink_to(tmp_path / "own")
    out = tmp_path / "pack"
    pack(tmp_path / "own", out)
    made = (out / "described" / "000000.json").stat().st_mtime_ns

    for name in (tmp_path / "chips" / ".." / "own", tmp_path / "link"):
        done = pack(name, out)

        assert done.returncode == 0, done.stderr
        assert (out / "described" / "000000.json").stat().st_mtime_ns == made
    assert ids_of(out) == ["a", "b"]


def test_a_pack_behind_a_link_finds_shards_that_lie_elsewhere(tmp_path):
    pack(chips_in(tmp_path / "chips", "ab"), tmp_path / "own")
    (tmp_path / "disk" / "below" / "pack").mkdir(parents=True)
    out = tmp_path / "pack"
    out.symlink_to(tmp_path / "disk" / "below" / "pack")

    done = pack(tmp_path / "own", out)

    assert done.returncode == 0, done.stderr
    assert ids_of(out) == ids_of(tmp_path / "disk" / "below" / "pack") == ["a", "b"]


def test_a_pack_among_its_chips_is_refused_before_anything_is_written(tmp_path):
    chips = chips_in(tmp_path / "chips", "ab")

    done = pack(chips, tmp_path / "chips" / ".." / "chips")

    assert done.returncode == 2
    assert "name another folder for the pack." in " ".join(done.stderr.split())
    assert sorted(path.name for path in chips.iterdir()) == ["a.png", "b.png"]


def test_a_pack_whose_shards_could_not_be_made_again_is_no_pack(tmp_path):
    chips, out = chips_in(tmp_path / "chips", "abcd"), tmp_path / "pack"
    pack(chips, out, "--per-shard", 2)
    for name in "abcd":
        (chips / f"{name}.png").write_bytes(b"none")

    done = pack(chips, out, "--per-shard", 2)

    assert done.returncode == 2
    assert "Nothing could be packed" in done.stderr
    with pytest.raises(DataError, match="no finished pack"):
        read_pack(out)


def test_a_pack_that_was_stopped_while_made_again_is_no_pack_until_it_is_gone_on_with(
    tmp_path, monkeypatch
):
    chips, out = chips_in(tmp_path / "chips", "abcd"), tmp_path / "pack"
    pack(chips, out, "--per-shard", 2)
    (chips / "d.png").write_bytes(png(9))
    there, really = [], build._pack_shard

    def stopped(job):
        there.append((job.output.name, (out / "pack.json").exists()))
        raise KeyboardInterrupt

    monkeypatch.setattr(build, "_pack_shard", stopped)
    done = pack(chips, out, "--per-shard", 2)

    assert done.returncode == 130
    assert there == [("000001.tar", False)]
    with pytest.raises(DataError, match="no finished pack"):
        read_pack(out)
    monkeypatch.setattr(build, "_pack_shard", really)
    assert pack(chips, out, "--per-shard", 2).returncode == 0
    assert ids_of(out) == list("abcd")


def test_a_pack_stays_one_where_nothing_is_made_again(tmp_path, monkeypatch):
    chips, out = chips_in(tmp_path / "chips", "ab"), tmp_path / "pack"
    pack(chips, out)

    def stopped(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(build, "write_pack", stopped)

    assert pack(chips, out).returncode == 130
    assert ids_of(out) == ["a", "b"]


@pytest.mark.slow
def test_a_pack_that_another_run_is_making_is_left_alone(tmp_path):
    chips, out = chips_in(tmp_path / "chips", "ab"), tmp_path / "pack"
    pack(chips, out)
    (chips / "a.png").write_bytes(png(9))

    with Manifest(out) as manifest, manifest.held():
        assert "is held by pid" in pack(chips, out).stderr

    assert ids_of(out) == ["a", "b"]
