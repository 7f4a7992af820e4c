import numpy as np
import pytest
import shapely
from conftest import write_raster

from geoseg.errors import SceneError
from geoseg.vectorize import outline_ground


def test_the_ground_of_a_map_is_what_has_data_whatever_its_class(tmp_path):
    classes = np.full((40, 70), 255, dtype=np.uint8)
    classes[5:30, 10:60] = np.arange(50) % 3
    classes[12:15, 20:26] = 255  # a cloud
    path = write_raster(tmp_path / "classes.tif", classes, nodata=255)

    ground = outline_ground(path)

    left, top = 500_000 + 10 * 30, 3_100_000 - 5 * 30
    frame = shapely.box(left, top - 25 * 30, left + 50 * 30, top)
    cloud = shapely.box(500_600, 3_100_000 - 15 * 30, 500_780, 3_100_000 - 12 * 30)
    assert len(ground) == 1
    assert ground.iloc[0].equals(frame.difference(cloud))
    assert ground.crs == "EPSG:32645"


def test_ground_in_two_places_is_two_polygons(tmp_path):
    filled = np.ones((30, 50), dtype=np.uint8)
    filled[2:6, 3:9] = 0
    filled[20:29, 30:44] = 0

    ground = outline_ground(write_raster(tmp_path / "filled.tif", filled), missing=1)

    assert sorted(ground.area) == [24 * 900, 126 * 900]


def test_a_raster_without_ground_has_none(tmp_path):
    nothing = np.full((8, 9), 255, dtype=np.uint8)

    assert outline_ground(write_raster(tmp_path / "classes.tif", nothing)).empty


def test_an_image_has_no_ground(tmp_path):
    image = write_raster(tmp_path / "image.tif", np.ones((8, 9), dtype=np.float32))

    with pytest.raises(SceneError, match="holds float32 values and a class map holds ids"):
        outline_ground(image)
