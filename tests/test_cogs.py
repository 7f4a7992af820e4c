"""What geoseg writes of scenes is cloud-optimised, as rio-cogeo checks it.

Rasters of 512 px or less need no overviews, so these are larger; smaller ones of the other rooms
are checked where they are made.
"""

import numpy as np
import pytest
import rasterio
import torch
from affine import Affine
from cogs import faults_of_cog
from conftest import scene_of, two_band_spec, write_raster
from odc.geo.geobox import GeoBox

from geoseg.config import InferenceSettings
from geoseg.inference import Prediction, predict_scene
from geoseg.models import build_segmenter
from geoseg.outlining import join_maps
from geoseg.scenes.cog import open_cog

SHAPE = (530, 1100)  # not square, and two overviews of the wider side


@pytest.mark.slow
def test_maps_of_scenes_and_their_mosaic_are_cloud_optimised(tmp_path):
    torch.manual_seed(0)
    segmenter = build_segmenter(two_band_spec(encoder="test_resnet"))
    settings = InferenceSettings(uncertainty="entropy")
    maps = []
    for number, left in enumerate((500_000, 515_000)):
        pixels = np.random.default_rng(number).integers(1, 255, (2, *SHAPE)).astype(np.uint8)
        pixels[:, :9] = 0
        path = write_raster(tmp_path / f"{number}.tif", pixels, nodata=0, origin=(left, 3_100_000))
        maps.append(
            predict_scene(
                segmenter,
                scene_of(path),
                settings,
                prediction=Prediction.within(tmp_path / f"map{number}", settings),
                device=torch.device("cpu"),
                tags={},
                on_tile=lambda *_: None,
            )
        )

    joined = join_maps(
        [one.classes.parent for one in maps], rule="best", crs=None, out=tmp_path / "mosaic"
    )

    files = [*maps[0].paths, *joined.paths, joined.classes.with_name("source.tif")]
    assert [path.name for path in files] == [
        "classes.tif",
        "probability.tif",
        "uncertainty.tif",
        "classes.tif",
        "probability.tif",
        "source.tif",
    ]
    assert {str(path): faults_of_cog(path) for path in files} == {str(path): [] for path in files}


@pytest.mark.parametrize(
    ("dtype", "nodata", "overviews"),
    [("uint8", 255, "mode"), ("int16", -32768, "average"), ("float32", np.nan, "average")],
)
def test_a_raster_written_block_by_block_is_cloud_optimised(dtype, nodata, overviews, tmp_path):
    grid = GeoBox(SHAPE, Affine(10, 0, 500_000, 0, -10, 7_200_000), "EPSG:3413")
    values = np.random.default_rng(0).uniform(0, 99, (2, *SHAPE)).astype(dtype)
    values[:, 40:90] = nodata
    path = tmp_path / "raster.tif"

    with open_cog(path, grid, nodata=nodata, overviews=overviews, bands=2, dtype=dtype) as raster:
        raster.write(values)

    assert faults_of_cog(path) == []
    with rasterio.open(path) as raster:
        np.testing.assert_array_equal(raster.read(), values)
        assert raster.overviews(1) == [2, 4]
        np.testing.assert_equal(raster.nodata, float(nodata))


def test_a_raster_without_overviews_is_none(tmp_path):
    path = write_raster(tmp_path / "plain.tif", np.zeros(SHAPE, np.uint8), tiled=True)

    assert faults_of_cog(path) != []
