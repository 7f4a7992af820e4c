import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from geoseg.data.seasons import LAND_COVERS
from geoseg.errors import LabelError
from geoseg.labels import IGNORE
from geoseg.landcover.legends import (
    UNRESOLVED,
    find_legend,
    load_legends,
    translate,
    translation,
)

NAMES = tuple(load_legends())


@pytest.mark.parametrize("name", NAMES)
def test_classes_of_a_legend_do_not_overlap_and_have_names_codes_and_colours_of_their_own(name):
    classes = find_legend(name).classes

    leaves = [leaf for c in classes for leaf in c.leaves]
    assert len(leaves) == len(set(leaves))
    assert all(c.leaves for c in classes)
    for told in ([c.name for c in classes], [c.code for c in classes], [c.colour for c in classes]):
        assert len(set(told)) == len(classes)


def test_a_legend_of_the_whole_world_covers_all_leaves():
    leaves = {
        leaf for legend in load_legends().values() for c in legend.classes for leaf in c.leaves
    }

    for name in ("ipcc", "corine-1", "corine-2", "worldcover"):
        covered = {leaf for c in find_legend(name).classes for leaf in c.leaves}
        # Green in towns and farms with everything have no class of their own seen from above.
        assert leaves - covered <= {"dense_moss", "sparse_moss"}, name


def test_the_simulated_legend_is_that_of_the_simulated_ground():
    legend = find_legend("simulated")

    assert legend.names == LAND_COVERS
    assert legend.codes == tuple(range(len(LAND_COVERS)))


@pytest.mark.parametrize("name", NAMES)
def test_a_legend_in_itself_is_the_same(name):
    found = translation(name, name)

    assert not found.unresolved
    assert all(one == other for one, other in found.to.items())


@pytest.mark.parametrize(
    ("source", "target", "told", "meant"),
    [
        ("simulated", "worldcover", "wood", "tree cover"),
        ("simulated", "worldcover", "winter crop", "cropland"),
        ("simulated", "worldcover", "rock", "bare or sparse vegetation"),
        ("simulated", "corine-2", "summer crop", "arable land"),
        ("simulated", "corine-2", "water", "inland waters"),
        ("simulated", "ipcc", "water", "wetlands"),
        ("simulated", "ipcc", "rock", "other land"),
        ("worldcover", "ipcc", "shrubland", "grassland"),
        ("worldcover", "ipcc", "snow and ice", "other land"),
        ("worldcover", "ipcc", "mangroves", "wetlands"),
        ("worldcover", "corine-1", "cropland", "agricultural areas"),
        ("worldcover", "corine-1", "herbaceous wetland", "wetlands"),
        ("corine-2", "corine-1", "pastures", "agricultural areas"),
        ("corine-2", "corine-1", "open spaces", "forest and semi-natural areas"),
        ("corine-2", "worldcover", "pastures", "grassland"),
        ("corine-2", "ipcc", "pastures", "grassland"),
    ],
)
def test_a_class_becomes_the_class_that_holds_all_of_it(source, target, told, meant):
    assert translation(source, target).to[told] == meant


@pytest.mark.parametrize(
    ("source", "target", "told", "may_be"),
    [
        ("simulated", "corine-2", "meadow", {"pastures", "scrub or herbaceous vegetation"}),
        ("worldcover", "simulated", "cropland", {"winter crop", "summer crop"}),
        ("ipcc", "worldcover", "grassland", {"grassland", "shrubland", "moss and lichen"}),
        ("worldcover", "simulated", "built-up", set()),
        ("corine-1", "ipcc", "agricultural areas", {"cropland", "grassland"}),
    ],
)
def test_a_class_that_is_cut_up_stays_unresolved_with_what_it_may_be(source, target, told, may_be):
    found = translation(source, target)

    assert set(found.unresolved[told]) == may_be
    assert told not in found.to


def test_a_map_keeps_its_gaps_and_says_what_is_unresolved():
    codes = np.array([[0, 2, 4], [5, IGNORE, UNRESOLVED]], dtype=np.uint8)

    found = translate(codes, "simulated", "corine-2")

    np.testing.assert_array_equal(found, [[51, UNRESOLVED, 21], [21, IGNORE, UNRESOLVED]])


@given(source=st.sampled_from(NAMES), target=st.sampled_from(NAMES), data=st.data())
def test_what_is_resolved_there_and_back_is_what_it_was(source, target, data):
    codes = np.array(
        data.draw(st.lists(st.sampled_from(find_legend(source).codes), min_size=1)), dtype=np.uint8
    )

    back = translate(translate(codes, source, target), target, source)

    # Where a coarser legend told less, the way back says so instead of guessing.
    resolved = back != UNRESOLVED
    np.testing.assert_array_equal(back[resolved], codes[resolved])


def test_a_coarser_legend_by_way_of_a_finer_one_is_the_same_as_at_once():
    codes = np.array(find_legend("simulated").codes, dtype=np.uint8)

    by_way = translate(translate(codes, "simulated", "corine-2"), "corine-2", "corine-1")

    at_once = translate(codes, "simulated", "corine-1")
    told = by_way != UNRESOLVED
    np.testing.assert_array_equal(by_way[told], at_once[told])
    assert told.sum() == 5


def test_what_is_unknown_is_said_with_the_nearest_that_is_known():
    with pytest.raises(LabelError, match=r"no legend named 'corine'\. Did you mean 'corine-"):
        find_legend("corine")
    with pytest.raises(LabelError, match=r"'simulated'\. Did you mean 'winter crop'\? Known: mea"):
        find_legend("simulated").find("winter crops")
    with pytest.raises(
        LabelError, match=r"code 41 in legend 'worldcover'\. Did you mean 40 \(crop"
    ):
        translate(np.array([40, 41], dtype=np.uint8), "worldcover", "ipcc")
