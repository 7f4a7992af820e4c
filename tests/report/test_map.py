import matplotlib.image
import pytest
from conftest import true_outlines
from rasterio.windows import Window

from geoseg.labels import GLACIER
from geoseg.report import draw_map


@pytest.mark.parametrize("outlines", [true_outlines(), true_outlines().iloc[:0]])
def test_a_map_is_drawn_with_and_without_outlines(example, tmp_path, outlines):
    path = tmp_path / "map.png"

    draw_map(example.scene, outlines, GLACIER, path=path, held_out=Window(100, 0, 60, 96))

    picture = matplotlib.image.imread(path)[..., :3]
    assert picture.shape[1] == 1200
    blue = (picture[..., 2] > picture[..., 0] + 0.15).mean()
    assert (blue > 0.05) == (len(outlines) > 0)
