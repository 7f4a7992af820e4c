"""Places at hand into a pack, and the same places out of it."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from geoseg.data.slumps import simulated_places
from geoseg.labels import IGNORE
from geoseg.presence.packs import Given, make_pack
from geoseg.presence.packs.pixels import Palette
from geoseg.presence.packs.read import read_stored
from geoseg.presence.packs.stored import decode_place


def read(pack):
    palettes = {kind: Palette(kind, pixels) for kind, pixels in pack.kinds.items()}
    stored = [place for shard in pack.shards for place in read_stored(shard.path, pack.foreign)]
    return [decode_place(place, palettes) for place in stored]


@pytest.fixture(scope="module")
def simulated():
    return simulated_places(14, seed=3, prevalence=0.5)


@pytest.mark.parametrize("suffix", [".tar", ".parquet"])
def test_a_pack_of_simulated_places_gives_back_what_went_in(simulated, tmp_path, suffix):
    made = make_pack(Given(pool=simulated, name="a"), tmp_path, per_shard=4, suffix=suffix)

    found = read(made.pack)

    assert [place.id for place in found] == [place.id for place in simulated]
    assert made.present == int(simulated.present.sum())
    hidden = masked = 0
    for place, wanted in zip(found, simulated, strict=True):
        assert (place.lon, place.lat, place.present) == (wanted.lon, wanted.lat, wanted.present)
        for chip, before in zip(place.images, wanted.images, strict=True):
            same = (chip.time, chip.sensor_id, chip.gsd_m, chip.bands)
            assert same == (before.time, before.sensor_id, before.gsd_m, before.bands)
            assert torch.equal(chip.image, before.image)
            assert torch.equal(chip.valid, before.valid)
            assert torch.equal(chip.label, before.label)
            hidden += int((~chip.valid).sum())
            masked += int((chip.label == 1).sum())
    assert hidden > 0
    assert masked > 0


def test_images_of_8_bits_stay_so_only_where_nothing_is_lost(simulated):
    film = [c for p in simulated for c in p.images if c.sensor_id == "hexagon-kh9-mapping"]
    whole = next(chip for chip in film if chip.valid.all())
    shown = replace(simulated[0], images=(whole,))
    half = replace(shown, images=(replace(whole, image=whole.image + 0.5),))
    hidden = replace(shown, images=(replace(whole, valid=whole.image[0] > whole.image.min()),))

    stored = [
        next(Given(pool=[place], name="a").places()).images[0].pixels
        for place in (shown, half, hidden)
    ]

    assert [pixels.dtype for pixels in stored] == [np.uint8, np.float32, np.float32]
    assert np.isnan(stored[2]).any()


def test_images_that_nobody_masked_come_back_unknown_and_oldest_first(simulated, tmp_path):
    place = simulated[0]
    unknown = tuple(
        replace(chip, label=torch.full_like(chip.label, IGNORE)) for chip in place.images[::-1]
    )

    made = make_pack(Given(pool=[replace(place, images=unknown)], name="a"), tmp_path)

    (found,) = read(made.pack)
    assert [chip.time for chip in found.images] == [chip.time for chip in place.images]
    assert all((chip.label == IGNORE).all() for chip in found.images)


def test_a_part_of_a_part_is_that_part(simulated):
    whole = Given(pool=simulated, name="a")

    part = whole.part(4, 12).part(2, 100)

    assert len(part) == 6
    assert [p.id for p in part.places()] == [p.id for p in simulated[6:12]]
    assert part.fingerprint() == Given(pool=simulated, name="a", first=6, end=12).fingerprint()
    assert part.fingerprint() != Given(pool=simulated, name="b", first=6, end=12).fingerprint()


def test_a_pack_that_is_there_is_not_made_again_and_one_of_another_name_is(simulated, tmp_path):
    def shards():
        return {p.name: p.stat().st_mtime_ns for p in tmp_path.glob("*.tar")}

    first = make_pack(Given(pool=simulated, name="a"), tmp_path, per_shard=7).pack
    before = shards()

    again = make_pack(Given(pool=simulated, name="a"), tmp_path, per_shard=7).pack

    assert shards() == before
    assert again.digest == first.digest
    make_pack(Given(pool=simulated[::-1], name="backwards"), tmp_path, per_shard=7)
    assert not shards().items() & before.items()
