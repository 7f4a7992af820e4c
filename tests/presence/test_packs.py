"""Packs: shards of images, read as they come from anybody."""

import io
import json
import tarfile
from datetime import UTC, datetime

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image
from rasterio.io import MemoryFile

from geoseg.errors import ConfigError, DataError, SceneError, SensorError
from geoseg.presence.packs import (
    Chips,
    Described,
    Foreign,
    ImageKind,
    Problem,
    Shards,
    list_chips,
    make_pack,
    read_pack,
    read_shard,
)
from geoseg.presence.packs.kind import PALETTE_PX, PixelSample
from geoseg.presence.packs.pixels import Palette, decode, npy_bytes, on_scale
from geoseg.presence.packs.read import read_stored
from geoseg.presence.packs.stored import StoredImage, StoredPlace, decode_place
from geoseg.presence.packs.tables import TableWriter
from geoseg.presence.packs.tars import TarWriter, read_tar

DAY = datetime(2020, 7, 1, tzinfo=UTC)
RGB = ImageKind(sensor_id="sentinel-2", bands=("red", "green", "blue"), gsd_m=10.0)
PAN = ImageKind(sensor_id="spot-5", bands=("pan",), gsd_m=5.0, nodata=0.0, scale=0.5)
HEIGHT, WIDTH = 6, 9  # not square: a swapped axis is seen


def png(pixels):
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


def picture(seed, channels=3, dtype=np.uint8):
    shape = (HEIGHT, WIDTH) if channels == 1 else (HEIGHT, WIDTH, channels)
    return np.random.default_rng(seed).integers(1, np.iinfo(dtype).max, shape, dtype=dtype)


def place(name, *images, present=None):
    return StoredPlace(id=name, lon=-134.5, lat=69.25, present=present, images=images)


def image(pixels, kind=RGB, *, time=DAY, suffix="png", mask=None):
    return StoredImage(pixels=pixels, suffix=suffix, kind=kind, time=time, mask=mask)


def places():
    """One of two dates and sensors, one of a name that no tar key may be, one that is absent."""
    later = datetime(2022, 8, 1, tzinfo=UTC)
    pan = picture(2, 1).astype(np.uint16)[None]
    mask = png(np.full((HEIGHT, WIDTH), 1, dtype=np.uint8))
    return [
        place(
            "a1", image(pan, PAN, suffix="npy"), image(png(picture(1)), time=later), present=True
        ),
        place("Ö/b.2", image(png(picture(3)), mask=mask)),
        place("c3", image(png(picture(4))), present=False),
    ]


def packed(folder, stored, writer=TarWriter, suffix=".tar"):
    """A pack of one shard that somebody wrote."""
    path = folder / f"shard{suffix}"
    written = writer(path)
    for one in stored:
        written.add(one)
    written.close()
    return make_pack(Shards(paths=[path], foreign=None), folder / "pack")


def chips_in(folder, count, **described):
    folder.mkdir()
    for number in range(count):
        (folder / f"chip{number:03d}.png").write_bytes(png(picture(number)))
    files, problems = list_chips(folder, {})
    assert not problems
    fields = {"sensor_id": "sentinel-2", "bands": RGB.bands, "time": DAY, **described}
    return Chips(folder=folder, files=files, described=Described(**fields))


def read_all(pack):
    return [found for shard in pack.shards for found in read_shard(shard, pack)]


def labels_of(pack):
    """Masks by place, as who learns from them reads them."""
    palettes = {kind: Palette(kind, pixels) for kind, pixels in pack.kinds.items()}
    stored = [place for shard in pack.shards for place in read_stored(shard.path, pack.foreign)]
    return {place.id: decode_place(place, palettes).images[0].label for place in stored}


@pytest.mark.parametrize(("writer", "suffix"), [(TarWriter, ".tar"), (TableWriter, ".parquet")])
def test_places_come_back_as_they_were_packed(tmp_path, writer, suffix):
    made = packed(tmp_path, places(), writer, suffix)

    found = read_all(made.pack)

    assert [p.id for p in found] == ["a1", "Ö/b.2", "c3"]
    assert [p.present for p in found] == [True, None, False]
    assert [(p.lon, p.lat) for p in found] == [(-134.5, 69.25)] * 3
    assert (made.present, made.absent, made.problems) == (1, 1, ())
    pan, colour = found[0].images
    assert (pan.sensor_id, pan.gsd_m, colour.sensor_id) == ("spot-5", 5.0, "sentinel-2")
    assert [i.time.year for i in found[0].images] == [2020, 2022]
    assert [b.common_name for b in colour.bands] == ["red", "green", "blue"]
    np.testing.assert_array_equal(colour.image, np.moveaxis(picture(1), -1, 0))
    np.testing.assert_array_equal(pan.image[0], picture(2, 1) * np.float32(0.5))


@pytest.mark.parametrize(("writer", "suffix"), [(TarWriter, ".tar"), (TableWriter, ".parquet")])
def test_a_mask_of_labels_stays_with_its_image(tmp_path, writer, suffix):
    labels = labels_of(packed(tmp_path, places(), writer, suffix).pack)

    assert torch.equal(labels["Ö/b.2"], torch.ones(HEIGHT, WIDTH, dtype=torch.uint8))
    assert (labels["c3"] == 255).all()


def test_a_png_is_stored_as_it_came_and_shards_have_the_same_bytes_each_time(tmp_path):
    one, two = (tmp_path / name for name in ("one", "two"))
    for folder in (one, two):
        folder.mkdir()
        packed(folder, places())

    assert (one / "shard.tar").read_bytes() == (two / "shard.tar").read_bytes()
    with tarfile.open(one / "shard.tar") as tar:
        assert tar.extractfile("c3.0.png").read() == png(picture(4))
        assert [name for name in tar.getnames() if name.startswith("~")]


@given(
    arrays(
        st.sampled_from([np.uint8, np.uint16, np.int16, np.float32]),
        st.tuples(st.integers(1, 5), st.integers(1, 7), st.integers(1, 7)),
    )
)
def test_npy_bytes_give_the_array_back(array):
    np.testing.assert_array_equal(decode(npy_bytes(array), "npy"), array)


@pytest.mark.parametrize(
    ("pixels", "shape"),
    [
        (picture(0, 1), (1, HEIGHT, WIDTH)),
        (picture(0, 2), (2, HEIGHT, WIDTH)),
        (picture(0, 3), (3, HEIGHT, WIDTH)),
        (picture(0, 4), (4, HEIGHT, WIDTH)),
        (picture(0, 1, np.uint16), (1, HEIGHT, WIDTH)),
    ],
)
def test_any_png_keeps_its_values_and_depth(pixels, shape):
    found = decode(png(pixels), "png")

    assert found.shape == shape
    assert found.dtype == pixels.dtype
    np.testing.assert_array_equal(found, np.atleast_3d(pixels).transpose(2, 0, 1))


def deep_png(pixels):
    """Of 16 bits and several channels (H, W, C), which Pillow does not write."""
    with MemoryFile() as file:
        height, width, count = pixels.shape
        shape = {"height": height, "width": width, "count": count}
        with (
            pytest.warns(match="no geotransform"),
            file.open(driver="PNG", dtype="uint16", **shape) as raster,
        ):
            raster.write(np.moveaxis(pixels, -1, 0))
        return file.read()


def test_a_png_of_three_channels_of_16_bits_is_not_cut_to_8():
    pixels = picture(5, 3, np.uint16)

    found = decode(deep_png(pixels), "png")

    np.testing.assert_array_equal(np.moveaxis(found, 0, -1), pixels)


@pytest.mark.parametrize("make", [png, deep_png])
@pytest.mark.parametrize("kept", [0.5, 0.9])
def test_a_png_that_is_cut_short_is_refused_at_any_depth(make, kept):
    dtype = np.uint16 if make is deep_png else np.uint8
    stored = make(np.random.default_rng(0).integers(1, 255, (64, 64, 3)).astype(dtype))

    with pytest.raises(SceneError, match="damaged PNG"):
        decode(stored[: int(kept * len(stored))], "png")


def test_alpha_beyond_the_bands_says_what_is_valid():
    pixels = picture(0, 4)
    pixels[2:, 3:, 3] = 0
    pixels[..., 3] = np.minimum(pixels[..., 3], 255)

    image, valid = on_scale(decode(png(pixels), "png"), RGB)

    assert not valid[2:, 3:].any()
    assert valid[:2].all()
    assert not image[:, 2:, 3:].any()


def test_alpha_is_a_band_like_others_where_four_are_named():
    four = ImageKind(sensor_id="sentinel-2", bands=("red", "green", "blue", "nir"), gsd_m=10.0)

    image, valid = on_scale(decode(png(picture(0, 4)), "png"), four)

    assert len(image) == 4
    assert valid is None


def test_nodata_and_nan_are_not_valid():
    stored = np.full((1, 2, 3), 7.0, dtype=np.float32)
    stored[0, 0, 0], stored[0, 1, 2] = 0, np.nan

    image, valid = on_scale(stored, PAN)

    np.testing.assert_array_equal(valid, [[False, True, True], [True, True, False]])
    np.testing.assert_array_equal(image[0], [[0, 3.5, 3.5], [3.5, 3.5, 0]])


@pytest.mark.parametrize(
    ("stored", "suffix", "said"),
    [
        (b"no picture", "png", "it is no PNG"),
        (png(picture(0))[:90], "png", "damaged PNG"),
        (npy_bytes(picture(0)[None, ..., 0])[:-1], "npy", "cut short"),
        (b"\x93NUMPY", "npy", "no .npy file"),
        (bytes(2**26 + 1), "npy", "at most 67108864"),
    ],
)
def test_what_is_no_image_is_told_in_a_sentence(stored, suffix, said):
    with pytest.raises(SceneError, match=said):
        decode(stored, suffix)


def test_a_small_file_that_claims_to_be_huge_is_refused_before_it_is_decoded():
    bomb = bytearray(png(picture(0)))
    bomb[16:24] = (60_000).to_bytes(4, "big") * 2
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(
        header, {"descr": "<f8", "fortran_order": False, "shape": (10**6, 10**6, 10**6)}
    )

    with pytest.raises(SceneError, match="60000 x 60000"):
        decode(bytes(bomb), "png")
    with pytest.raises(SceneError, match="cut short"):
        decode(header.getvalue(), "npy")


def test_a_pickled_array_is_refused():
    file = io.BytesIO()
    np.save(file, np.array([{"a": 1}], dtype=object), allow_pickle=True)

    with pytest.raises(SceneError, match="give numbers"):
        decode(file.getvalue(), "npy")


def test_a_kind_refuses_a_band_that_its_sensor_has_not():
    with pytest.raises(SensorError, match="pan"):
        ImageKind(sensor_id="sentinel-2", bands=("pan",), gsd_m=10.0)


def test_chips_in_degrees_are_of_one_kind_wherever_they_lie():
    described = Described(sensor_id="sentinel-2", bands=RGB.bands)

    kinds = {described.kind(None, gsd_m, None, scale=1.0) for gsd_m in (9.9961, 10.0042)}

    assert kinds == {RGB}


def test_a_palette_holds_pixels_of_many_images_whoever_sampled_them():
    rng = np.random.default_rng(0)
    together, apart = PixelSample(1), [PixelSample(1), PixelSample(1)]
    for number in range(400):
        image = np.full((1, 4, 4), number, dtype=np.float32)
        part = PixelSample(1)
        part.draw(image, np.ones((4, 4), dtype=bool), rng)
        for sample in (together, apart[number % 2]):
            sample.add(*part.lowest(8))
    joined = PixelSample(1)
    for sample in apart:
        joined.add(*sample.lowest(PALETTE_PX))

    np.testing.assert_array_equal(joined.palette(), together.palette())
    assert joined.palette().shape == (1, PALETTE_PX)
    assert abs(joined.palette().mean() - 199.5) < 15
    assert len(np.unique(joined.palette())) > 250


def test_a_palette_of_nothing_valid_is_nan():
    sample = PixelSample(2)
    sample.draw(np.ones((2, 3, 3), np.float32), np.zeros((3, 3), bool), np.random.default_rng(0))

    assert np.isnan(sample.palette()).all()


def test_a_pack_that_was_stopped_is_gone_on_with(tmp_path, monkeypatch):
    from geoseg.presence.packs import build

    chips = chips_in(tmp_path / "chips", 7)
    whole = make_pack(chips, tmp_path / "whole", per_shard=2).pack
    made, really = [], build._pack_shard

    def stop_at_third(job):
        if len(made) == 2:
            raise KeyboardInterrupt
        made.append(job.output.name)
        return really(job)

    monkeypatch.setattr(build, "_pack_shard", stop_at_third)
    with pytest.raises(KeyboardInterrupt):
        make_pack(chips, tmp_path / "pack", per_shard=2)
    with pytest.raises(DataError, match="no finished pack"):
        read_pack(tmp_path / "pack")
    remade = []
    monkeypatch.setattr(
        build, "_pack_shard", lambda job: (remade.append(job.output.name), really(job))[1]
    )
    pack = make_pack(chips, tmp_path / "pack", per_shard=2).pack

    assert made == ["000000.tar", "000001.tar"]
    assert remade == ["000002.tar", "000003.tar"]
    assert [s.sha256 for s in pack.shards] == [s.sha256 for s in whole.shards]
    assert pack.digest == whole.digest
    assert [s.places for s in pack.shards] == [2, 2, 2, 1]


def test_a_chip_that_changed_is_packed_again_and_the_others_stay(tmp_path):
    chips = chips_in(tmp_path / "chips", 4)
    before = make_pack(chips, tmp_path / "pack", per_shard=2).pack
    (tmp_path / "chips" / "chip003.png").write_bytes(png(picture(99)))
    files, _ = list_chips(tmp_path / "chips", {})

    again = Chips(folder=chips.folder, files=files, described=chips.described)
    after = make_pack(again, tmp_path / "pack", per_shard=2).pack

    assert after.shards[0] == before.shards[0]
    assert after.shards[1].sha256 != before.shards[1].sha256
    assert after.digest != before.digest


def test_a_pack_may_be_moved(tmp_path):
    pack = make_pack(chips_in(tmp_path / "chips", 3), tmp_path / "pack").pack
    (tmp_path / "pack").rename(tmp_path / "moved")

    moved = read_pack(tmp_path / "moved")

    assert moved.digest == pack.digest
    assert len(read_all(moved)) == 3


def test_a_damaged_png_is_told_of_and_the_others_are_packed(tmp_path):
    chips = chips_in(tmp_path / "chips", 3)
    path = tmp_path / "chips" / "chip001.png"
    path.write_bytes(path.read_bytes()[:60])

    made = make_pack(chips, tmp_path / "pack")

    assert [p.id for p in read_all(made.pack)] == ["chip000", "chip002"]
    assert [p.key for p in made.problems] == ["chip001"]
    assert "chip001.png: it is a damaged PNG" in made.problems[0].reason


def test_a_number_of_bands_that_is_not_that_of_the_sensor_names_the_file(tmp_path):
    chips = chips_in(tmp_path / "chips", 2)
    (tmp_path / "chips" / "chip001.png").write_bytes(png(picture(0, 1)))

    made = make_pack(chips, tmp_path / "pack")

    assert (
        "chip001.png: it has 1 bands and sentinel-2 images here have 3" in made.problems[0].reason
    )


def test_a_pack_of_nothing_is_refused(tmp_path):
    chips = chips_in(tmp_path / "chips", 1)
    (tmp_path / "chips" / "chip000.png").write_bytes(b"nothing")

    with pytest.raises(ConfigError, match=r"Nothing could be packed .* it is no PNG"):
        make_pack(chips, tmp_path / "pack")


@pytest.mark.parametrize("spoil", ["cut", "flip", "remove"])
def test_a_shard_that_is_not_what_was_packed_is_refused_by_name(tmp_path, spoil):
    pack = packed(tmp_path, places()).pack
    path = tmp_path / "shard.tar"
    content = bytearray(path.read_bytes())
    if spoil == "remove":
        path.unlink()
    elif spoil == "cut":
        path.write_bytes(content[:-600])
    else:
        content[700] ^= 1
        path.write_bytes(content)

    with pytest.raises(DataError, match=r"shard\.tar"):
        list(read_shard(pack.shards[0], pack))


def test_a_tar_of_somebody_else_is_read_in_place(tmp_path):
    path = tmp_path / "theirs.tar"
    with tarfile.open(path, "w") as tar:

        def add(name, content):
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))

        add("train/x1.png", png(picture(1)))
        add("train/x1.cls", b"1\n")
        add("train/x2.png", png(picture(2)))
        add("train/x2.json", json.dumps({"lon": 10.5, "lat": 60, "present": False}).encode())
        add("train/" + "n" * 150 + ".png", png(picture(3)))  # a header of another kind
        add("train/x4.cls", b"0")
        add("train/x5.png", b"none")
        link = tarfile.TarInfo("train/x6.png")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        tar.addfile(link)

    made = make_pack(Shards(paths=[path], foreign=Foreign(RGB, DAY)), tmp_path / "pack")
    found = {p.id.rpartition("/")[2]: p for p in read_all(made.pack) if not isinstance(p, Problem)}

    assert list(found) == ["x1", "x2", "n" * 150]
    assert (found["x1"].present, found["x2"].present) == (True, False)
    assert found["x2"].lon == 10.5
    np.testing.assert_array_equal(found["n" * 150].images[0].image, np.moveaxis(picture(3), -1, 0))
    assert {p.key.rpartition("/")[2] for p in made.problems} == {"x4", "x5", "x6"}
    assert not list((tmp_path / "pack").glob("*.tar"))


def test_a_tar_cut_between_two_members_is_seen(tmp_path):
    path = tmp_path / "cut.tar"
    writer = TarWriter(path)
    writer.add(places()[2])
    writer.close()
    path.write_bytes(path.read_bytes()[:1024])

    with pytest.raises(tarfile.TarError):
        list(read_tar(path, None))


def test_a_table_of_somebody_else_is_read_in_place(tmp_path):
    rows = [
        {
            "id": name,
            "lon": 1.5,
            "lat": 60.0,
            "time": DAY.replace(year=year),
            "sensor": "sentinel-2",
            "bands": ["red", "green", "blue"],
            "gsd_m": 10.0,
            "height": HEIGHT,
            "width": WIDTH,
            "dtype": "uint8",
            "image": content,
        }
        for name, year, content in [
            ("a", 2021, np.moveaxis(picture(1), -1, 0).tobytes()),
            ("a", 2019, np.moveaxis(picture(2), -1, 0).tobytes()),
            ("b", 2020, b"too few"),
        ]
    ]
    path = tmp_path / "theirs.parquet"
    pq.write_table(pa.Table.from_pylist(rows), path)

    made = make_pack(Shards(paths=[path], foreign=None), tmp_path / "pack")
    found = [p for p in read_all(made.pack) if not isinstance(p, Problem)]

    assert [p.id for p in found] == ["a"]
    assert [i.time.year for i in found[0].images] == [2019, 2021]
    np.testing.assert_array_equal(found[0].images[1].image, np.moveaxis(picture(1), -1, 0))
    assert [p.key for p in made.problems] == ["b"]

    # A column of that name which holds something else.
    pq.write_table(pa.Table.from_pylist([row | {"mask": "lake"} for row in rows]), path)
    with pytest.raises(ConfigError, match="its mask is no PNG in bytes"):
        make_pack(Shards(paths=[path], foreign=None), tmp_path / "other")


def test_another_kind_of_pack_is_not_written_over(tmp_path):
    packed(tmp_path, places())

    with pytest.raises(ConfigError, match="holds another pack"):
        make_pack(chips_in(tmp_path / "chips", 1), tmp_path / "pack")
