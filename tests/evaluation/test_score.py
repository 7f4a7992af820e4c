import numpy as np
import pytest
from conftest import HEIGHT, WIDTH, true_outlines, write_raster
from rasterio.windows import Window

from geoseg.errors import ConfigError
from geoseg.evaluation import score_map
from geoseg.labels import GLACIER, IGNORE

EAST = Window(100, 0, 60, HEIGHT)


def mapped_as(tmp_path, classes):
    return write_raster(tmp_path / "classes.tif", classes, nodata=IGNORE)


def test_only_the_window_is_scored(tmp_path):
    classes = np.ones((HEIGHT, WIDTH), np.uint8)  # wrong in the west, and in the east too

    scores = score_map(mapped_as(tmp_path, classes), true_outlines(), GLACIER, EAST)

    ice = scores.classes["glacier"]
    assert ice.pixels == 50 * 40 - 100
    assert ice.iou == pytest.approx(1900 / (60 * HEIGHT))
    assert ice.recall == 1
    assert scores.mean_iou == ice.iou
    assert scores.pixels == 60 * HEIGHT


def test_what_is_not_mapped_is_not_scored(tmp_path):
    classes = np.ones((HEIGHT, WIDTH), np.uint8)
    classes[:, 130:] = IGNORE

    assert score_map(mapped_as(tmp_path, classes), true_outlines(), GLACIER, EAST).pixels == (
        30 * HEIGHT
    )
    classes[:] = IGNORE
    with pytest.raises(ConfigError, match="holds no mapped pixel in the part to score"):
        score_map(mapped_as(tmp_path, classes), true_outlines(), GLACIER, EAST)


def test_a_perfect_map_scores_one_over_many_strips(tmp_path, monkeypatch):
    from geoseg.evaluation import score

    monkeypatch.setattr(score, "_STRIP_PX", 7)
    classes = np.zeros((HEIGHT, WIDTH), np.uint8)
    classes[30:80, 105:145] = 1
    classes[50:60, 120:130] = 0

    scores = score_map(mapped_as(tmp_path, classes), true_outlines(), GLACIER, EAST)

    assert scores.mean_iou == 1
