from dataclasses import replace

import numpy as np
import pytest
import torch
from small_grounds import DAYS, VARIABLES, small_ground

from geoseg.errors import GridError, LabelError, ModelError, SceneError
from geoseg.labels import IGNORE
from geoseg.landcover.cells import cell_years, draw_samples, split_by_parcel
from geoseg.landcover.ground import ground_of_cube, open_cube, parcels_of, read_ground, write_ground
from geoseg.pivot.physical.posterior import Estimate
from geoseg.pivot.storage import as_dataset


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
    other = replace(ground, days=tuple(day + 20 for day in ground.days))

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


def cube_of(ground):
    nothing = torch.zeros_like(ground.mean)
    estimate = Estimate(
        days=ground.days,
        variables=ground.variables,
        mean=ground.mean,
        sd=ground.sd,
        validity=ground.validity,
        age_days=nothing,
        provenance=nothing.int(),
    )
    return as_dataset(estimate, ground.grid)


def test_a_ground_is_read_from_a_cube(tmp_path):
    ground = small_ground(3)
    cube_of(ground).to_zarr(tmp_path / "cube.zarr", consolidated=False)

    with open_cube(tmp_path / "cube.zarr") as cube:
        read = ground_of_cube(cube, ground.land_cover, ground.grid)

    assert (read.days, read.variables, read.grid) == (ground.days, ground.variables, ground.grid)
    torch.testing.assert_close(read.mean, ground.mean)
    torch.testing.assert_close(read.sd, ground.sd)
    torch.testing.assert_close(read.validity, ground.validity)


def test_what_is_no_cube_or_lies_elsewhere_is_refused(tmp_path):
    ground = small_ground(3)
    moved = ground.grid.translate_pix(1, 0)

    with pytest.raises(GridError, match=r"not on the same cells(.|\n)*500010, 7200000"):
        ground_of_cube(cube_of(ground), ground.land_cover, moved)
    with pytest.raises(SceneError, match="no variable with its standard deviation and validity"):
        ground_of_cube(cube_of(ground)[["red", "red_sd"]], ground.land_cover, ground.grid)
    with pytest.raises(SceneError, match=r"none\.zarr is no cube that can be read"):
        open_cube(tmp_path / "none.zarr")


def test_the_same_days_of_another_year_are_learned_from_together():
    ground = small_ground(0)
    later = replace(small_ground(1), days=tuple(day + 365 for day in ground.days))

    samples = draw_samples([ground, later], per_class=9, rng=np.random.default_rng(0))

    assert len(samples) == 18


def test_cells_that_the_pivot_does_not_know_teach_nothing():
    ground = small_ground(0)
    mean, sd = ground.mean.clone(), ground.sd.clone()
    mean[3, 1, 2, :] = torch.nan
    sd[0, 0, :, 5] = torch.nan
    gaps = replace(ground, mean=mean, sd=sd)

    samples = draw_samples([gaps], per_class=999, rng=np.random.default_rng(0))

    assert not gaps.known[2].any()
    assert not gaps.known[:, 5].any()
    assert len(samples) == gaps.known.sum() == 11 * 15
    assert torch.isfinite(samples.years.mean).all()
