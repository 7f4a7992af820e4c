import numpy as np
import pytest
import rasterio
from conftest import scene_of, write_raster
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from noise_maps import RAW, class_maps
from rasterio.features import rasterize

from geoseg.errors import GridError, SceneError
from geoseg.labels import GLACIER, IGNORE, ClassScheme
from geoseg.vectorize import outline_scene, reader

SCHEME = ClassScheme.of({"ice": "#00ffff", "lake": "#0000ff"})


def write_maps(folder, classes, stored, **extra):
    path = write_raster(folder / "classes.tif", classes, nodata=IGNORE, **extra)
    chance = write_raster(folder / "p.tif", stored, nodata=IGNORE, **extra)
    with rasterio.open(chance, "r+") as raster:
        raster.scales = [1 / 250] * raster.count
    return path, chance


@pytest.mark.slow
@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(classes=class_maps(least=2), seed=st.integers(0, 9999), strip_px=st.integers(1, 99))
def test_statistics_are_those_of_the_pixels_inside(tmp_path, monkeypatch, classes, seed, strip_px):
    rng = np.random.default_rng(seed)
    stored = rng.integers(0, 251, (3, *classes.shape)).astype(np.uint8)
    stored[rng.random(stored.shape) < 0.2] = IGNORE
    path, chance = write_maps(tmp_path, classes, stored, blockysize=1)
    monkeypatch.setattr(reader, "_STRIP_PX", strip_px)

    outlines = outline_scene(path, chance, scene=scene_of(path), scheme=SCHEME, settings=RAW)

    known = np.where(stored == IGNORE, np.nan, stored / 250)
    with rasterio.open(path) as raster:
        affine = raster.transform
    for row in outlines.itertuples():
        inside = rasterize([row.geometry], out_shape=classes.shape, transform=affine) == 1
        own = known[SCHEME.find(row.class_name).id, inside]
        own = own[np.isfinite(own)]
        expected = (own.mean(), own.std()) if len(own) else (np.nan, np.nan)
        assert (row.probability, row.probability_sd) == pytest.approx(expected, nan_ok=True)
        for number, name in enumerate(SCHEME.names):
            values = known[number, inside]
            values = values[np.isfinite(values)]
            expected = values.mean() if len(values) else np.nan
            assert getattr(row, f"p_{name}") == pytest.approx(expected, nan_ok=True)


def test_a_map_without_probabilities_has_no_columns_of_them(tmp_path):
    classes = np.ones((4, 6), np.uint8)
    path = write_raster(tmp_path / "classes.tif", classes, nodata=IGNORE)

    outlines = outline_scene(path, None, scene=scene_of(path), scheme=GLACIER, settings=RAW)

    assert len(outlines) == 1
    assert not [name for name in outlines.columns if name.startswith("p")]


def test_probabilities_of_other_pixels_are_refused(tmp_path):
    classes = np.ones((4, 6), np.uint8)
    path = write_raster(tmp_path / "classes.tif", classes, nodata=IGNORE)
    chance = write_raster(tmp_path / "p.tif", np.ones((2, 4, 6), np.uint8), origin=(500_030, 0))

    with pytest.raises(GridError, match="does not lie on the pixels of the class map") as error:
        outline_scene(path, chance, scene=scene_of(path), scheme=GLACIER, settings=RAW)
    assert "top left (500030, 0)" in str(error.value)


def test_probabilities_of_too_few_classes_are_refused(tmp_path):
    path, chance = write_maps(tmp_path, np.ones((4, 6), np.uint8), np.ones((2, 4, 6), np.uint8))

    with pytest.raises(SceneError, match=r"has 2 bands and the scheme has 3 classes \(ground, ice"):
        outline_scene(path, chance, scene=scene_of(path), scheme=SCHEME, settings=RAW)
