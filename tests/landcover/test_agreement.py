import numpy as np
import pytest
from affine import Affine
from hypothesis import given, settings
from hypothesis import strategies as st
from odc.geo.geobox import GeoBox
from scipy.ndimage import gaussian_filter

from geoseg.errors import ConfigError, GridError
from geoseg.labels import IGNORE
from geoseg.landcover.agreement import aggregate_labels, agreeing_maps, agreement
from geoseg.landcover.shares import Shares, aggregate, refine

ALL_M = (2.0, 5.0, 10.0, 20.0, 30.0, 60.0, 100.0)


def grid_of(shape, gsd_m=10.0):
    return GeoBox(shape, Affine(gsd_m, 0, 500_000, 0, -gsd_m, 7_200_000), "EPSG:32633")


def drawn_shares(seed, shape, *, classes=4, smooth=1.0, unknown=0.0, gsd_m=10.0):
    rng = np.random.default_rng(seed)
    field = gaussian_filter(rng.standard_normal((classes, *shape)), (0, smooth, smooth))
    share = np.exp(3 * field / field.std())
    share[:, rng.uniform(size=shape) < unknown] = np.nan
    return Shares.of(share, grid_of(shape, gsd_m))


shapes = st.tuples(st.integers(3, 24), st.integers(3, 24))
fields = st.builds(
    drawn_shares,
    seed=st.integers(0, 10_000),
    shape=shapes,
    classes=st.integers(2, 6),
    smooth=st.sampled_from([0.0, 0.7, 2.0]),
    unknown=st.sampled_from([0.0, 0.1, 0.6]),
)


@settings(max_examples=40)
@given(shares=fields, times=st.sampled_from([1, 2, 4, 5, 10]))
def test_finer_shares_keep_those_of_each_cell_and_add_up_to_one(shares, times):
    fine = refine(shares, 10 / times)

    back = aggregate(fine, 10.0)
    np.testing.assert_allclose(back.share, shares.share, atol=1e-12)
    np.testing.assert_allclose(back.area_m2, shares.area_m2)
    known = fine.area_m2 > 0
    np.testing.assert_allclose(fine.share[:, known].sum(axis=0), 1, atol=1e-9)
    assert (fine.share[:, known] >= 0).all()


def test_finer_shares_lie_beside_the_neighbours_that_hold_the_class():
    share = np.array([[[1.0, 0.5, 0.0]] * 3, [[0.0, 0.5, 1.0]] * 3])

    fine = refine(Shares.of(share, grid_of((3, 3))), 5.0).share[0]

    # West of the middle column lies nothing but the first class.
    np.testing.assert_allclose(fine[:, 2:4], [[0.75, 0.25]] * 6, atol=0.2)
    assert (fine[:, 2] > fine[:, 3] + 0.2).all()
    np.testing.assert_allclose(fine[:, [0, 1, 4, 5]], [[1, 1, 0, 0]] * 6)


@settings(max_examples=40)
@given(
    shares=fields,
    sizes=st.sampled_from([(10, 20, 60), (10, 20, 100), (10, 30, 60), (2, 10, 30), (5, 20, 100)]),
)
def test_shares_do_not_depend_on_the_steps_they_are_put_together_in(shares, sizes):
    field = refine(shares, min(10, *sizes))
    first, second, last = sizes

    at_once = aggregate(field, last)
    by_steps = aggregate(aggregate(aggregate(field, first), second), last)

    np.testing.assert_allclose(by_steps.share, at_once.share, atol=1e-12)
    np.testing.assert_allclose(by_steps.area_m2, at_once.area_m2)
    assert at_once.area_m2.sum() == pytest.approx(shares.area_m2.sum())


def test_a_cell_that_lies_in_two_coarser_ones_counts_in_both_by_area():
    share = np.array([[[1.0, 0.0, 0.0]], [[0.0, 1.0, 1.0]]])  # cells of 2 m in a row of 6 m

    coarse = aggregate(Shares.of(share, grid_of((1, 3), gsd_m=2.0)), 5.0)

    # 0 to 5 m: 2 m of the first class and 3 m of the second; 5 to 6 m: the second.
    np.testing.assert_allclose(coarse.share[0], [[0.4, 0.0]])
    np.testing.assert_allclose(coarse.area_m2, [[10.0, 2.0]])
    assert coarse.grid.affine.c == 500_000
    assert coarse.grid.affine.f == 7_200_000


def test_labels_by_area_and_the_first_class_where_areas_are_equal():
    labels = np.array([[1, 0, 0, IGNORE, 1]], dtype=np.uint8)

    # 0 to 5 m: 2 m of class 1, 3 m of 0; 5 to 10 m: 1 m of 0, 2 m unknown, 2 m of 1.
    np.testing.assert_array_equal(aggregate_labels(labels, 2.0, 5.0), [[0, 1]])
    np.testing.assert_array_equal(aggregate_labels(labels, 2.0, 4.0), [[0, 0, 1]])
    nothing = np.full((2, 2), IGNORE, dtype=np.uint8)
    np.testing.assert_array_equal(aggregate_labels(nothing, 2.0, 4.0), [[IGNORE]])


@pytest.mark.slow
@settings(max_examples=30)
@given(shares=fields, sizes=st.sets(st.sampled_from(ALL_M), min_size=2))
def test_the_finest_map_put_together_is_each_coarser_one(shares, sizes):
    maps = agreeing_maps(shares, sorted(sizes | {2.0}))

    known = maps.labels[2.0] != IGNORE
    for gsd, labels in maps.labels.items():
        # Counted cell by cell on a lattice that no border cuts.
        metres = maps.labels[2.0].repeat(2, axis=0).repeat(2, axis=1)
        for row, column in np.ndindex(*labels.shape):
            size = int(gsd)
            part = np.s_[row * size : (row + 1) * size, column * size : (column + 1) * size]
            inside = metres[part][metres[part] != IGNORE]
            leads = np.bincount(inside).argmax() if len(inside) else IGNORE
            assert labels[row, column] == leads
    likeliest = np.where(known, np.nan_to_num(maps.shares[2.0].share).argmax(axis=0), IGNORE)
    np.testing.assert_array_equal(maps.labels[2.0], likeliest)
    assert all(same == 1 for (fine, _), same in agreement(maps.labels).items() if fine == 2.0)


def test_maps_between_agree_where_fields_are_wider_than_their_cells():
    maps = agreeing_maps(drawn_shares(3, (60, 60), smooth=4.0), ALL_M)

    alike = agreement(maps.labels)

    assert min(alike.values()) > 0.8
    assert alike[10.0, 20.0] < 1  # what leads in most parts need not lead in the whole
    assert (20.0, 30.0) not in alike
    leading = maps.shares[100.0].share.argmax(axis=0)
    assert (maps.labels[100.0] == leading).mean() > 0.9


def test_what_is_unknown_stays_unknown_at_each_size():
    share = np.full((2, 4, 6), 0.5)
    share[0] = 0.7
    share[:, :, 2:] = np.nan

    maps = agreeing_maps(Shares.of(share, grid_of((4, 6))), (5.0, 10.0, 40.0))

    assert (maps.labels[5.0][:, 4:] == IGNORE).all()
    assert (maps.labels[10.0][:, :2] == 0).all()
    np.testing.assert_array_equal(maps.labels[40.0], [[0, IGNORE]])
    np.testing.assert_allclose(maps.shares[40.0].area_m2, [[800.0, 0.0]])
    assert np.isnan(maps.shares[40.0].share[:, 0, 1]).all()


def test_pixels_that_cannot_be_made_are_refused():
    shares = drawn_shares(0, (4, 5))

    with pytest.raises(ConfigError, match=r"10 m cannot be cut into cells of 4 m; .* such as 5 or"):
        agreeing_maps(shares, (4.0, 20.0))
    with pytest.raises(ConfigError, match=r"of 10 m cannot be put together to 5 m; refine"):
        aggregate(shares, 5.0)
    with pytest.raises(ConfigError, match="give whole millimetres"):
        agreeing_maps(shares, (0.0001,))
    with pytest.raises(GridError, match="not square or not north up"):
        Shares.of(np.ones((1, 2, 2)), GeoBox((2, 2), Affine(10, 0, 0, 0, -20, 0), "EPSG:32633"))
