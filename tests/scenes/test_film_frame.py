"""On a scan of film the picture is told from its border, reseau marks from the ground."""

from itertools import product

import numpy as np
import pytest
from scipy import ndimage

from geoseg.data.simulate.scan import scan_of
from geoseg.scenes.prepare.contrast import LocalTones
from geoseg.scenes.prepare.frame import (
    BorderTally,
    Frame,
    Reseau,
    ReseauTally,
    border_tone,
    under_crosses,
)


def ground(shape, seed=0):
    """Rock, a dark sea in the west that meets the border, and ice that is white."""
    rng = np.random.default_rng(seed)
    relief = ndimage.gaussian_filter(rng.standard_normal(shape), 6)
    picture = 95 + 25 * relief / relief.std() + 6 * rng.standard_normal(shape)
    picture[:, : shape[1] // 6] = 40 + 3 * rng.standard_normal((shape[0], shape[1] // 6))
    ice = ndimage.gaussian_filter(rng.standard_normal(shape), 40)
    picture[ice > 1.2 * ice.std()] = 225
    return np.clip(picture, 25, 250)


def found_frame(stored, step=77):
    height, width = stored.shape
    edge = int(0.03 * min(stored.shape))
    ring = np.concatenate([stored[:edge].ravel(), stored[-edge:].ravel(), stored[:, :edge].ravel()])
    middle = stored[height // 4 : -height // 4, width // 4 : -width // 4]
    tone = border_tone(ring, middle, brightest=255)
    if tone is None:
        return Frame.whole(stored.shape)
    tally = BorderTally(stored.shape, tone)
    for top in range(0, height, step):
        tally.add(top, stored[top : top + step])
    return tally.frame()


@pytest.mark.parametrize("skew", [0.0, 0.004, -0.006])
@pytest.mark.parametrize("negative", [False, True])
def test_the_picture_is_found_inside_its_border_turned_or_not(skew, negative):
    scan = scan_of(
        ground((700, 900)), np.random.default_rng(1), border_px=60, skew=skew, negative=negative
    )

    inside = found_frame(scan.stored).holds(0, scan.stored.shape)

    # None of the border, and all but a rim of the picture.
    assert (inside & ~scan.picture).sum() <= 1e-3 * inside.sum()
    assert (inside & scan.picture).sum() > 0.98 * scan.picture.sum()


def test_a_side_without_a_border_is_left_whole():
    scan = scan_of(ground((700, 900)), np.random.default_rng(1), border_px=60)
    half = scan.stored[:, :500]  # as one half of a scan in two parts

    frame = found_frame(half)

    assert frame.right == (499.5, 0.0)
    assert frame.open_sides(half.shape) == ["right"]
    assert frame.left[0] == pytest.approx(60, abs=4)
    picture = ground((300, 400)).astype(np.uint8)
    assert found_frame(picture) == Frame.whole((300, 400))


def test_pixels_of_a_strip_are_those_of_the_whole():
    frame = Frame(top=(10, 0.02), bottom=(180, 0.01), left=(20, -0.01), right=(230, 0.03))

    whole = frame.holds(0, (200, 250))

    strips = np.concatenate([frame.holds(top, (40, 250)) for top in range(0, 200, 40)])
    np.testing.assert_array_equal(strips, whole)
    assert not whole[10, 100]
    assert whole[13, 100]
    assert not whole[100, 18]
    assert whole[100, 20]


def found_marks(stored, frame, step=190):
    reseau = Reseau.of_sensor("hexagon-kh9-mapping", frame)
    tally, (height, width) = ReseauTally(reseau, brightest=255), stored.shape
    for top, left in product(range(0, height, step), range(0, width, step)):
        rows = slice(max(0, top - reseau.halo_px), min(height, top + step + reseau.halo_px))
        columns = slice(max(0, left - reseau.halo_px), min(width, left + step + reseau.halo_px))
        own = (
            slice(top - rows.start, min(top + step, height) - rows.start),
            slice(left - columns.start, min(left + step, width) - columns.start),
        )
        tally.add((rows.start, columns.start), stored[rows, columns], own)
    return np.concatenate(
        [
            under_crosses(top, stored[top : top + step].shape, tally.crosses(), reseau)
            for top in range(0, height, step)
        ]
    )


@pytest.mark.slow
def test_reseau_crosses_are_masked_and_hardly_anything_else():
    scan = scan_of(ground((1150, 1400)), np.random.default_rng(2), border_px=60, skew=0.003)
    frame = found_frame(scan.stored)

    found = found_marks(scan.stored, frame)

    assert Reseau.of_sensor("hexagon-kh9-mapping", frame).arm_px == 6
    marks, count = ndimage.label(scan.marks, np.ones((3, 3)))
    hit = ndimage.mean(found & scan.marks, marks, range(1, count + 1)) > 0
    assert count > 500
    assert hit.mean() > 0.8  # those on dark water have little to be darker than
    covered = found & ~ndimage.binary_dilation(scan.marks, iterations=4)
    assert covered.mean() < 1e-4
    np.testing.assert_array_equal(found_marks(scan.stored, frame, step=1500), found)


def test_a_cross_that_stands_alone_is_none_of_the_camera():
    stored = np.full((400, 500), 120.0)

    def draw(row, column):
        stored[row - 6 : row + 7, column] = stored[row, column - 6 : column + 7] = 30

    for row, column in product((80, 125, 170), (90, 135)):
        draw(row, column)
    draw(300, 333)
    frame = Frame(top=(0, 0.0), bottom=(1035, 0.0), left=(0, 0.0), right=(1400, 0.0))  # 45 px a cm

    found = found_marks(stored, frame)

    assert all(found[row, column] for row, column in product((80, 125, 170), (90, 135)))
    assert not found[280:320].any()


def test_a_picture_without_crosses_has_none_and_other_cameras_have_no_reseau():
    scan = scan_of(ground((1150, 1400)), np.random.default_rng(2), border_px=60, reseau=False)
    frame = found_frame(scan.stored)

    assert not found_marks(scan.stored, frame)[70:-70, 70:-70].any()
    assert Reseau.of_sensor("corona-kh4b", frame) is None
    assert Reseau.of_sensor("hexagon-kh9-mapping", Frame.whole((500, 500))) is None


def evened(stored, valid, step=50):
    tones = LocalTones(stored.shape)
    for top in range(0, len(stored), step):
        tones.add(top, stored[top : top + step], valid[top : top + step])
    return np.concatenate(
        [
            tones.even(top, stored[top : top + step], valid[top : top + step])
            for top in range(0, len(stored), step)
        ]
    )


def test_vignetting_and_the_step_between_halves_become_even_and_ice_stays_brighter_than_rock():
    flat = ground((600, 800), seed=3)
    scan = scan_of(flat, np.random.default_rng(3), border_px=20, vignetting=0.5, reseau=False)
    picture = scan.stored[20:-20, 20:-20].astype(np.float64)
    picture[:, 400:] += 25
    valid = np.ones(picture.shape, dtype=bool)
    rock = (flat > 60) & (flat < 140)

    found = evened(picture, valid)

    def unevenness(tones):
        corner, middle = rock.copy(), rock.copy()
        corner[60:-60] = False
        middle[:200], middle[-200:] = False, False
        step = np.median(tones[:, 410:500][rock[:, 410:500]]) - np.median(
            tones[:, 300:390][rock[:, 300:390]]
        )
        return abs(np.median(tones[corner]) - np.median(tones[middle])), abs(step)

    before, after = unevenness(picture), unevenness(found)
    assert after[0] < 0.7 * before[0]
    assert after[1] < 0.7 * before[1]
    assert np.median(found[flat > 200]) - np.median(found[rock]) > 60


def test_tones_do_not_depend_on_the_strips_and_what_is_not_valid_takes_no_part():
    stored = ground((210, 333), seed=4)
    valid = np.ones(stored.shape, dtype=bool)
    valid[:, 300:] = False
    spoilt = np.where(valid, stored, 1e6)

    one, other = evened(stored, valid, 50), evened(spoilt, valid, 17)

    np.testing.assert_allclose(one[valid], other[valid], rtol=1e-5)
    assert np.isnan(one[~valid]).all()
    assert np.isnan(evened(stored, ~valid & ~np.isfinite(stored))).all()
