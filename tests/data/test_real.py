"""On real data: skipped where GEOSEG_DATA_MIRROR does not name a mirror of them."""

import os

import numpy as np
import pytest
from rasterio.windows import Window

from geoseg.data import fetch
from geoseg.data.labelled import labelled_everest
from geoseg.errors import GridError
from geoseg.labels import GLACIER, place_labels, read_outlines
from geoseg.scenes import Asset, Scene, open_scene

needs_data = pytest.mark.skipif(
    "GEOSEG_DATA_MIRROR" not in os.environ,
    reason="needs the open data sets: name a mirror of them by GEOSEG_DATA_MIRROR",
)


@needs_data
def test_outlines_lie_on_the_glaciers_of_everest():
    labelled = labelled_everest(fetch("everest"))
    with open_scene(labelled.scene, ["nir08", "red"]) as reader:
        nir = reader.read(Window(0, 0, 800, 655)).image[0]
        table = read_outlines(
            labelled.outlines, GLACIER, layer=labelled.layer, class_of=labelled.class_of
        )
        ice = place_labels(table, reader.grid, GLACIER).burn(reader.grid) == 1

    # Published beside the data: 54.0 % of the frame, and IoU 0.505 by a threshold on band 4.
    assert ice.mean() == pytest.approx(0.540, abs=0.002)
    bright = nir > 120
    assert (bright & ice).sum() / (bright | ice).sum() == pytest.approx(0.505, abs=0.003)


def athabasca(folder, red, nir):
    everest = labelled_everest(folder).scene
    return Scene(
        id="athabasca",
        sensor_id="landsat-8",
        start=everest.start,
        end=everest.end,
        bands={"red": Asset(path=folder / red), "nir08": Asset(path=folder / nir)},
    )


@pytest.mark.slow
@needs_data
def test_two_spellings_of_a_projection_are_one_and_a_shift_of_a_pixel_is_not():
    folder = fetch("athabasca")
    one_ground = athabasca(folder, "athabasca_2020229_B04_L30.tif", "athabasca_2020253_B8A_S30.tif")
    shifted = athabasca(folder, "athabasca_2020229_B04_L30.tif", "athabasca_B8A_20200911.tif")

    with open_scene(one_ground) as reader:
        image, valid = reader.read(Window(0, 0, 215, 205))
    assert 0.9 < valid.mean() < 1  # holes of -9999
    assert np.abs(image[:, valid]).max() < 2  # reflectance, by the scale of the file
    with pytest.raises(GridError, match="are not on the same pixels"), open_scene(shifted):
        pass
