"""One place of a pack, read by its id."""

import tarfile
from dataclasses import replace

import pytest
import torch

from geoseg.data.slumps import simulated_places
from geoseg.errors import DataError
from geoseg.presence.packs import Given, Problem, find_places, make_pack, read_shard
from geoseg.presence.packs.members import read_members
from geoseg.presence.packs.pixels import MOST_BYTES

HOSTILE = "<img src=x onerror=alert(1)>/../é"


@pytest.fixture(scope="module")
def places():
    made = list(simulated_places(9, seed=5, prevalence=0.5))
    made[4] = replace(made[4], id=HOSTILE)
    made[6] = replace(made[6], id="x" * 150)  # whose name a header of tar cannot hold
    return made


@pytest.mark.parametrize("suffix", [".tar", ".parquet"])
def test_each_place_is_read_by_its_id_as_it_was_packed(places, tmp_path, suffix):
    pack = make_pack(Given(pool=places, name="a"), tmp_path, per_shard=4, suffix=suffix).pack
    finder = find_places(pack, tmp_path / "kept")

    spots = finder.spots([place.id for place in reversed(places)])

    assert len(spots) == 9
    for place in places:
        found = finder.read(spots[place.id])
        assert found.id == place.id
        assert [chip.time for chip in found.images] == [chip.time for chip in place.images]
        for chip, before in zip(found.images, place.images, strict=True):
            assert torch.equal(chip.image, before.image)
            assert torch.equal(chip.label, before.label)


def test_places_of_parquet_that_another_tool_wrote_in_other_groups_are_found(places, tmp_path):
    import pyarrow.parquet as pq

    pack = make_pack(Given(pool=places, name="a"), tmp_path, suffix=".parquet").pack
    [shard] = pack.shards
    pq.write_table(pq.read_table(shard.path), shard.path, row_group_size=3)
    pack = replace(pack, shards=(_described_anew(shard),))
    finder = find_places(pack, tmp_path / "kept")

    found = [finder.read(finder.spots([place.id])[place.id]) for place in places]

    assert [len(place.images) for place in found] == [len(place.images) for place in places]


def test_members_say_where_they_begin_whatever_their_names_are(tmp_path):
    path = tmp_path / "a.tar"
    (tmp_path / "file").write_bytes(b"1" * 700)
    with tarfile.open(path, "w", format=tarfile.GNU_FORMAT) as tar:
        for name in ("a", "b" * 150, "c", "d" * 150):
            tar.add(tmp_path / "file", name)

    members = list(read_members(path, MOST_BYTES))

    assert [member.name[0] for member in members] == ["a", "b", "c", "d"]
    for number, member in enumerate(members):
        again = [later.name for later in read_members(path, MOST_BYTES, member.at)]
        assert again == [later.name for later in members[number:]]


def test_the_list_of_ids_is_kept_and_made_anew_for_another_pack(places, tmp_path):
    told = []
    pack = make_pack(Given(pool=places, name="a"), tmp_path / "a", per_shard=4).pack
    other = make_pack(Given(pool=places[:5], name="b"), tmp_path / "b", per_shard=4).pack

    for one in (pack, pack, other):
        find_places(one, tmp_path / "kept", lambda done, total: told.append((done, total)))

    assert told == [(1, 3), (2, 3), (3, 3), (1, 2), (2, 2)]
    assert find_places(other, tmp_path / "kept").spots([places[8].id]) == {}


def test_a_mask_that_is_damaged_hides_no_image(places, tmp_path):
    from geoseg.presence.packs.build import write_pack

    shards = make_pack(Given(pool=places, name="a"), tmp_path).pack
    [shard] = shards.shards
    bytes_ = shard.path.read_bytes()
    shard.path.write_bytes(bytes_.replace(b"IDAT", b"IDAX"))
    pack = write_pack(
        tmp_path, shards.kinds, [_described_anew(shard)], source="Given", foreign=shards.foreign
    )
    finder = find_places(pack, tmp_path / "kept")

    found = [finder.read(spot) for spot in finder.spots([p.id for p in places]).values()]

    assert not any(isinstance(place, Problem) for place in found)


def test_a_shard_that_was_cut_short_since_is_refused(places, tmp_path):
    pack = make_pack(Given(pool=places, name="a"), tmp_path).pack
    finder = find_places(pack, tmp_path / "kept")
    spot = finder.spots([places[0].id])[places[0].id]
    path = pack.shards[0].path
    path.write_bytes(path.read_bytes()[:5000])

    with pytest.raises(DataError, match=r"000000\.tar has 5000 bytes and had \d+ when it was pack"):
        finder.read(spot)


def test_shards_are_still_read_from_their_first_place_on(places, tmp_path):
    pack = make_pack(Given(pool=places, name="a"), tmp_path, per_shard=5).pack

    found = [place.id for shard in pack.shards for place in read_shard(shard, pack)]

    assert found == [place.id for place in places]


def _described_anew(shard):
    from geoseg.files import sha256_of

    return replace(shard, bytes=shard.path.stat().st_size, sha256=sha256_of(shard.path))
