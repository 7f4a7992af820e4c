from dataclasses import replace

import numpy as np
import pytest
import torch
from small_grounds import DAYS, VARIABLES, small_ground

from geoseg.errors import LabelError, ModelError
from geoseg.labels import IGNORE
from geoseg.landcover.cells import cell_years, draw_samples, split_by_parcel
from geoseg.landcover.ground import parcels_of, read_ground, write_ground


def test_a_cell_keeps_its_own_year_row_by_row():
    ground = small_ground(0)

    years = cell_years(ground)

    assert years.mean.shape == (12 * 16, len(DAYS), len(VARIABLES))
    torch.testing.assert_close(years.mean[3 * 16 + 5], ground.mean[:, :, 3, 5])
    torch.testing.assert_close(years.sd[-1], ground.sd[:, :, -1, -1])


def test_the_day_of_the_year_is_the_same_in_each_year():
    years = cell_years(small_ground(0))
    later = replace(years, days=tuple(day + 4 * 365.25 for day in years.days))

    torch.testing.assert_close(later.day_of_year, years.day_of_year)
    assert 0 <= float(years.day_of_year.min()) < float(years.day_of_year.max()) < 366


def test_parcels_are_cells_of_one_class_that_touch_by_their_sides():
    cover = np.array([[0, 0, 1], [1, 0, IGNORE], [1, 1, 0]], dtype=np.uint8)

    parcels = parcels_of(cover)

    assert parcels[0, 0] == parcels[1, 1]
    assert parcels[1, 0] == parcels[2, 1]
    assert parcels[0, 2] != parcels[1, 0]
    assert parcels[2, 2] not in {parcels[0, 0], parcels[0, 2]}
    assert parcels[1, 2] == -1
    assert sorted(np.unique(parcels)) == [-1, 0, 1, 2, 3]


def test_samples_are_so_many_of_each_class_with_parcels_of_their_own_ground():
    grounds = [small_ground(0), small_ground(1)]

    samples = draw_samples(grounds, per_class=50, rng=np.random.default_rng(0))

    assert np.bincount(samples.label).tolist() == [50, 50]
    assert len(np.unique(samples.parcel)) == 8
    # A year of class 0 is greenest in the fifth month, wherever it was drawn.
    peak = samples.years.mean[..., 2].argmax(dim=1).numpy()
    assert (np.abs(peak - np.where(samples.label == 0, 4, 8)) <= 1).all()


def test_unknown_cells_teach_nothing():
    ground = small_ground(0)
    cover = ground.land_cover.copy()
    cover[:, 4:] = IGNORE

    samples = draw_samples(
        [replace(ground, land_cover=cover)], per_class=999, rng=np.random.default_rng(0)
    )

    assert len(samples) == 12 * 4
    with pytest.raises(LabelError, match="No cell has a class to learn from; give labels"):
        draw_samples(
            [replace(ground, land_cover=np.full_like(cover, IGNORE))],
            per_class=9,
            rng=np.random.default_rng(0),
        )


def test_no_parcel_is_on_both_sides_of_a_split():
    samples = draw_samples(
        [small_ground(seed) for seed in range(4)], per_class=999, rng=np.random.default_rng(0)
    )

    teaching, held_out = split_by_parcel(samples, share=0.25, rng=np.random.default_rng(1))

    assert len(teaching) + len(held_out) == len(samples)
    assert not set(teaching.parcel) & set(held_out.parcel)
    assert np.bincount(held_out.label).tolist() == [2 * 48, 2 * 48]


def test_grounds_of_other_days_are_refused_together():
    ground = small_ground(0)
    other = replace(ground, days=tuple(day + 1 for day in ground.days[:-1]))

    with pytest.raises(LabelError, match=r"12 days .* cannot be learned from together; ask"):
        draw_samples([other, ground], per_class=9, rng=np.random.default_rng(0))
    with pytest.raises(LabelError, match=r"Classes of \(12, 15\) on a pivot of \(12, 16\) cells"):
        replace(ground, land_cover=ground.land_cover[:, 1:])


def test_a_ground_is_read_as_it_was_written(tmp_path):
    ground = small_ground(3)
    path = tmp_path / "ground.safetensors"

    write_ground(path, ground)

    back = read_ground(path)
    assert (back.days, back.variables, back.grid) == (ground.days, ground.variables, ground.grid)
    torch.testing.assert_close(back.mean, ground.mean)
    torch.testing.assert_close(back.validity, ground.validity)
    np.testing.assert_array_equal(back.land_cover, ground.land_cover)
    with pytest.raises(ModelError, match="does not exist"):
        read_ground(tmp_path / "none.safetensors")
