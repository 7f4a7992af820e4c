import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from geoseg.inference.tiles import Axis, TileGrid

cores = st.integers(2, 40).map(lambda n: 32 * n)


@st.composite
def axes(draw):
    core = draw(cores)
    halo = draw(st.integers(0, core // 4 // 16 * 16))
    return Axis.plan(draw(st.integers(1, 6000)), core_px=core, halo_px=halo), core, halo


@given(axes())
def test_tiles_cover_the_scene_and_overlap_by_two_halos(drawn):
    axis, core, halo = drawn
    starts = np.array(axis.starts)

    assert starts[0] == 0
    # Beyond the end by no more than a network pads.
    assert axis.length_px <= starts[-1] + axis.size_px < axis.length_px + 32
    assert axis.size_px <= core + 2 * halo + 31
    assert (starts % 32 == 0).all()
    assert (starts[:-1] + axis.size_px - starts[1:] >= 2 * halo).all()


@given(axes())
def test_cropped_tiles_share_no_pixel_and_keep_a_halo(drawn):
    axis, _, halo = drawn
    kept = [axis.kept(i, "crop") for i in range(len(axis.starts))]

    assert [n for r in kept for n in (r.start, r.stop)][1:-1] == [
        n for r in kept[1:] for n in (r.start, r.start)
    ]
    assert kept[0].start == 0
    assert kept[-1].stop == axis.length_px
    for part, start in list(zip(kept, axis.starts, strict=True))[1:]:
        assert part.start - start >= halo
    for part, start in list(zip(kept, axis.starts, strict=True))[:-1]:
        assert start + axis.size_px - part.stop >= halo


@pytest.mark.parametrize("core", [64, 96, 128, 160, 192, 224, 256, 352])
def test_no_three_tiles_overlap(core):
    for halo in range(0, core // 4 // 16 * 16 + 1):
        for length in range(1, 40 * 32, 32):
            axis = Axis.plan(length, core_px=core, halo_px=halo)
            for early, late in zip(axis.starts, axis.starts[2:], strict=False):
                assert early + axis.size_px <= late


@given(axes())
def test_weights_of_all_tiles_add_up_to_one(drawn):
    axis, _, _ = drawn
    total = np.zeros(axis.starts[-1] + axis.size_px)
    for index, start in enumerate(axis.starts):
        total[start : start + axis.size_px] += axis.weights(index)

    np.testing.assert_allclose(total, 1, atol=1e-6)


@given(axes(), st.sampled_from(["crop", "smooth"]))
def test_what_is_settled_no_later_tile_touches(drawn, blend):
    axis, _, _ = drawn
    for index in range(len(axis.starts)):
        settled = axis.settled(index, blend)
        later = [axis.kept(i, blend).start for i in range(index + 1, len(axis.starts))]
        assert all(settled <= start for start in later)
    assert axis.settled(len(axis.starts) - 1, blend) == axis.length_px


@pytest.mark.parametrize(("length", "most"), [(4096, 1.13), (8192, 1.13), (10980, 1.18)])
def test_few_pixels_are_shown_twice(length, most):
    grid = TileGrid.plan((length, length), core_px=1024, halo_px=32, blend="smooth")

    assert grid.forward_px / length**2 < most
