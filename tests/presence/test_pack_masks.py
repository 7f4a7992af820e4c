"""Masks of chips in packs: how they are read, and that damage to them costs nothing else."""

import io
import struct
import tarfile
import zlib

import numpy as np
import pytest
from command_line import geoseg_here
from PIL import Image

from geoseg.errors import SceneError
from geoseg.presence.packs import Problem, list_chips, read_pack, read_shard
from geoseg.presence.packs.build import PROBLEMS
from geoseg.presence.packs.pixels import Palette, decode_mask
from geoseg.presence.packs.read import read_stored
from geoseg.presence.packs.stored import decode_place

HEIGHT, WIDTH = 8, 12  # not square: a swapped axis is seen
CHIPS = ["--sensor", "sentinel-2", "--bands", "red,green,blue", "--date", "2021-07"]
IDS = np.zeros((HEIGHT, WIDTH), dtype=np.uint8)
IDS[:3, 5:] = 1


def as_png(picture, **options):
    file = io.BytesIO()
    picture.save(file, "PNG", **options)
    return file.getvalue()


def png(seed):
    pixels = np.random.default_rng(seed).integers(1, 255, (HEIGHT, WIDTH, 3), dtype=np.uint8)
    return as_png(Image.fromarray(pixels))


def grey(ids):
    return as_png(Image.fromarray(ids))


def one_bit(ids):
    return as_png(Image.fromarray(ids.astype(bool)))


def of_colours(ids, **options):
    picture = Image.frombytes("P", ids.shape[::-1], ids.tobytes())
    picture.putpalette([0, 0, 0, 0, 128, 0, 9, 9, 200] + [0] * 759)
    return as_png(picture, **options)


@pytest.fixture
def chips(tmp_path):
    folder = tmp_path / "chips"
    (folder / "present").mkdir(parents=True)
    for number, name in enumerate("ab"):
        (folder / "present" / f"{name}.png").write_bytes(png(number))
    return folder


def labels_of(folder):
    """Masks by place, as who learns from them reads them."""
    pack = read_pack(folder)
    palettes = {kind: Palette(kind, pixels) for kind, pixels in pack.kinds.items()}
    stored = [place for shard in pack.shards for place in read_stored(shard.path, pack.foreign)]
    return {place.id: decode_place(place, palettes).images[0].label.numpy() for place in stored}


@pytest.mark.parametrize("write", [grey, one_bit, of_colours])
def test_a_mask_says_the_same_in_any_kind_of_png(write):
    np.testing.assert_array_equal(decode_mask(write(IDS), IDS.shape), IDS)


@pytest.mark.parametrize("bits", [2, 4])
def test_indices_and_grey_values_of_few_bits_are_class_ids_as_they_are(bits):
    ids = IDS * 2

    found = decode_mask(of_colours(ids, bits=bits), ids.shape)

    np.testing.assert_array_equal(found, ids)
    np.testing.assert_array_equal(decode_mask(grey_of_few_bits(ids, bits), ids.shape), ids)


def grey_of_few_bits(ids, bits):
    """Which Pillow does not write."""

    def chunk(name, content):
        check = struct.pack(">I", zlib.crc32(name + content))
        return struct.pack(">I", len(content)) + name + content + check

    each = 8 // bits
    rows = ids.reshape(HEIGHT, WIDTH // each, each)
    packed = sum(rows[..., i].astype(int) << (8 - bits * (i + 1)) for i in range(each))
    lines = b"".join(b"\0" + row.astype(np.uint8).tobytes() for row in packed)
    header = struct.pack(">IIBBBBB", WIDTH, HEIGHT, bits, 0, 0, 0, 0)
    parts = [chunk(b"IHDR", header), chunk(b"IDAT", zlib.compress(lines)), chunk(b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


@pytest.mark.parametrize(
    ("stored", "said"),
    [
        (b"none", "it is no PNG"),
        (grey(IDS)[:50], "damaged PNG"),
        (png(0), "one channel and this one several"),
        (grey(IDS.T.copy()), r"the mask has \(12, 8\) px and its image \(8, 12\)"),
        (grey(IDS.astype(np.uint16) * 300), "it holds 300; class ids go to 255"),
    ],
)
def test_what_is_no_mask_is_told_in_a_sentence(stored, said):
    with pytest.raises(SceneError, match=said):
        decode_mask(stored, IDS.shape)


def test_an_edited_mask_is_packed_again(chips, tmp_path):
    mask = chips / "present" / "a.mask.png"
    for ids in (IDS, 1 - IDS):
        mask.write_bytes(one_bit(ids))

        done = geoseg_here("presence", "pack", chips, *CHIPS, "--out", tmp_path / "pack")

        assert done.returncode == 0
        np.testing.assert_array_equal(labels_of(tmp_path / "pack")["a"], ids)


@pytest.mark.parametrize("layout", ["webdataset", "parquet"])
def test_a_damaged_mask_is_told_by_its_file_and_its_chip_is_packed_without_it(
    chips, tmp_path, layout
):
    (chips / "present" / "a.mask.png").write_bytes(b"none")
    (chips / "present" / "b.mask.png").write_bytes(grey(IDS))

    done = geoseg_here(
        *("presence", "pack", chips, *CHIPS, "--out", tmp_path / "pack", "--format", layout)
    )

    assert done.returncode == 1
    assert "a: present/a.mask.png: it is no PNG. The chip is packed without it." in done.stderr
    labels = labels_of(tmp_path / "pack")
    assert (labels["a"] == 255).all()
    np.testing.assert_array_equal(labels["b"], IDS)


def test_who_needs_no_masks_reads_places_with_damaged_ones(chips, tmp_path):
    geoseg_here("presence", "pack", chips, *CHIPS, "--out", tmp_path / "own")
    (chips / "present" / "a.mask.png").write_bytes(grey(IDS))
    geoseg_here("presence", "pack", chips, *CHIPS, "--out", tmp_path / "pack")
    shard = tmp_path / "pack" / "000000.tar"
    (tmp_path / "theirs").mkdir()
    spoilt = shard.read_bytes().replace(grey(IDS), b"\0" * len(grey(IDS)))
    (tmp_path / "theirs" / "a.tar").write_bytes(spoilt)

    done = geoseg_here("presence", "pack", tmp_path / "theirs", "--out", tmp_path / "described")

    pack = read_pack(tmp_path / "described")
    assert done.returncode == 1
    assert "a: the mask of an image: it is no PNG." in done.stderr
    found = list(read_shard(pack.shards[0], pack))
    assert [place.id for place in found] == ["a", "b"]
    with pytest.raises(SceneError, match="Image 0 of place a is left out: it is no PNG"):
        labels_of(tmp_path / "described")


def test_a_mask_without_a_chip_is_told_of(chips):
    for name in ("present/zzz", "a"):
        (chips / f"{name}.mask.png").write_bytes(grey(IDS))

    _, problems = list_chips(chips, {})

    assert sorted(problems) == [
        Problem("a", "a.mask.png is the mask of no chip: none is beside it."),
        Problem("zzz", "present/zzz.mask.png is the mask of no chip: none is beside it."),
    ]


def test_a_link_that_leads_nowhere_is_told_of_and_the_others_are_packed(chips, tmp_path):
    for name in ("l.png", "present/a.mask.png"):
        (chips / name).symlink_to(tmp_path / "nowhere")

    done = geoseg_here("presence", "pack", chips, *CHIPS, "--out", tmp_path / "pack")

    assert done.returncode == 1
    assert "l: l.png cannot be read (No such file or directory)." in done.stderr
    assert "present/a.mask.png cannot be read (No such file" in done.stderr
    assert sorted(labels_of(tmp_path / "pack")) == ["a", "b"]


def test_npy_files_are_chips_like_others(tmp_path):
    folder = tmp_path / "chips"
    folder.mkdir()
    pixels = np.random.default_rng(0).normal(0, 9, (3, HEIGHT, WIDTH)).astype(np.float32)
    np.save(folder / "n.npy", pixels)
    np.save(folder / "flat.npy", pixels[0])
    (folder / "p.png").write_bytes(png(1))
    (folder / "n.mask.png").write_bytes(of_colours(IDS))

    done = geoseg_here(
        *("presence", "pack", folder, *CHIPS, "--gsd", 3, "--out", tmp_path / "pack")
    )

    assert done.returncode == 1
    assert "flat: flat.npy: it has 1 bands" in done.stderr
    pack = read_pack(tmp_path / "pack")
    found = {place.id: place for place in read_shard(pack.shards[0], pack)}
    assert sorted(found) == ["n", "p"]
    np.testing.assert_array_equal(found["n"].images[0].image, pixels)
    assert found["n"].images[0].gsd_m == 3
    assert np.isnan(found["n"].lon)
    np.testing.assert_array_equal(labels_of(tmp_path / "pack")["n"], IDS)


def test_truths_of_npy_files_come_back_from_either_format(tmp_path):
    folder = tmp_path / "chips"
    folder.mkdir()
    np.save(folder / "n.npy", np.stack([IDS == 1] * 3))

    for layout in ("webdataset", "parquet"):
        out = tmp_path / layout
        geoseg_here("presence", "pack", folder, *CHIPS, "--format", layout, "--out", out)
        pack = read_pack(out)
        (found,) = read_shard(pack.shards[0], pack)
        np.testing.assert_array_equal(found.images[0].image[1], IDS)


def test_a_damaged_mask_is_told_of_again_when_nothing_is_made_anew(chips, tmp_path):
    (chips / "present" / "a.mask.png").write_bytes(b"none")

    for _ in range(2):
        geoseg_here("presence", "pack", chips, *CHIPS, "--out", tmp_path / "pack")

        assert "a.mask.png" in (tmp_path / "pack" / PROBLEMS).read_text()


DRAWN = IDS * 255  # as editors draw: white on black


@pytest.mark.parametrize("layout", ["webdataset", "parquet"])
def test_a_mask_drawn_in_black_and_white_does_not_teach_the_opposite(chips, tmp_path, layout):
    (chips / "absent").mkdir()
    (chips / "absent" / "c.png").write_bytes(png(2))
    for name, drawn in {"present/a": DRAWN, "present/b": IDS, "absent/c": DRAWN}.items():
        (chips / f"{name}.mask.png").write_bytes(grey(drawn))

    done = geoseg_here(
        *("presence", "pack", chips, *CHIPS, "--out", tmp_path / "pack", "--format", layout)
    )

    assert done.returncode == 1
    assert "a: present/a.mask.png: it holds only 0 and 255, which is unknown" in done.stderr
    assert "write 1 for what is present. The chip is packed without it." in done.stderr
    assert len((tmp_path / "pack" / PROBLEMS).read_text().splitlines()) == 2
    labels = labels_of(tmp_path / "pack")
    assert (labels["a"] == 255).all()
    np.testing.assert_array_equal(labels["b"], IDS)
    np.testing.assert_array_equal(labels["c"], DRAWN)


def test_a_mask_that_is_unknown_where_nothing_was_measured_is_as_it_should_be(tmp_path):
    folder = tmp_path / "chips" / "present"
    folder.mkdir(parents=True)
    pixels = np.random.default_rng(0).normal(9, 1, (3, HEIGHT, WIDTH)).astype(np.float32)
    pixels[:, IDS == 1] = np.nan
    np.save(folder / "n.npy", pixels)
    (folder / "n.mask.png").write_bytes(grey(DRAWN))

    done = geoseg_here("presence", "pack", tmp_path / "chips", *CHIPS, "--out", tmp_path / "pack")

    assert done.returncode == 0
    np.testing.assert_array_equal(labels_of(tmp_path / "pack")["n"], DRAWN)


def theirs_of(folder, **masks):
    """A tar of a place that is present, with an image for each mask."""
    folder.mkdir()
    with tarfile.open(folder / "a.tar", "w") as file:
        for name, content in {
            "a.cls": b"1",
            **{f"a.{number}.png": png(number) for number in range(len(masks))},
            **{f"a.{n}.mask.png": grey(mask) for n, mask in enumerate(masks.values())},
        }.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            file.addfile(member, io.BytesIO(content))
    return folder


def test_nothing_is_learned_from_masks_in_black_and_white_in_shards_of_others(tmp_path):
    theirs = theirs_of(tmp_path / "theirs", old=IDS * 0, new=DRAWN)

    done = geoseg_here("presence", "pack", theirs, *CHIPS, "--out", tmp_path / "pack")

    assert done.returncode == 1
    assert "a: the mask of an image: it holds only 0 and 255" in done.stderr
    with pytest.raises(SceneError, match="Image 1 of place a is left out: its mask: it holds only"):
        labels_of(tmp_path / "pack")


def test_unknown_is_unknown_where_another_date_marks_what_is_present(tmp_path):
    theirs = theirs_of(tmp_path / "theirs", old=DRAWN, new=IDS)

    done = geoseg_here("presence", "pack", theirs, *CHIPS, "--out", tmp_path / "pack")

    assert done.returncode == 0
    np.testing.assert_array_equal(labels_of(tmp_path / "pack")["a"], DRAWN)
