"""The report of a comparison."""

import io
import re

import matplotlib.image
import numpy as np
import pytest
from page_elements import Elements

from geoseg.errors import SceneError
from geoseg.evaluation.comparison import BlockConfusion, Cost, UnitKey, UnitResult, compare_units
from geoseg.labels import GLACIER
from geoseg.page.policy import WRITTEN
from geoseg.report import DifferenceMap, write_comparison
from geoseg.report.differences import draw_differences

RIGHT = np.array([[90, 10], [10, 90]])
WRONG = np.array([[60, 40], [40, 60]])


def unit(model, fold, confusion, scene="a"):
    blocks = range(fold * 6, fold * 6 + 6)
    return UnitResult(
        model=model,
        fold=fold,
        seed=0,
        scores=tuple(
            BlockConfusion(
                scene=scene,
                sensor="landsat-7",
                year=2000,
                gsd_m=30.0,
                block=block,
                confusion=confusion,
            )
            for block in blocks
        ),
        cost=Cost(
            train_seconds=float("nan"),
            predict_seconds_per_mpx=1.0,
            parameters=10,
            trained_parameters=5,
            peak_memory_mb=100.0,
            device="cpu",
        ),
    )


def comparison(planned=None):
    units = [unit("good", fold, RIGHT) for fold in range(2)]
    units += [unit("poor", fold, WRONG) for fold in range(2)]
    return compare_units(units, GLACIER, seed=0, planned=planned)


def scene(scene_id="a", height=40, width=60):
    truth = np.zeros((height, width), np.uint8)
    truth[10:30, 10:50] = 1
    poor = truth.copy()
    poor[:, 30:] = 0
    return DifferenceMap(
        scene_id=scene_id,
        backdrop=np.full((height, width, 3), 120, np.uint8),
        truth=truth,
        mapped={"good": truth, "poor": poor},
        gsd_m=30.0,
    )


def page_of(folder, *scenes, planned=None):
    write_comparison(folder, comparison(planned), scenes)
    return (folder / "comparison.html").read_text()


def test_the_page_stands_alone_and_names_models_and_scores(tmp_path):
    page = page_of(tmp_path, scene())

    assert not re.findall(r"(?:src|href)=[\"']?https?:", page)
    assert "<script" not in page
    assert Elements(page).all("meta")[2]["content"] == WRITTEN
    assert page.count("data:image/png;base64,") == 2
    good, poor = 90 / 110, 60 / 140
    assert f"{good:.3f}" in page
    assert f"{poor:.3f}" in page
    assert page.index("good") < page.index("poor")
    assert "nan" not in re.sub(r"base64,[^\"]*", "", page).lower().replace("finance", "")


@pytest.mark.slow
def test_names_from_outside_do_no_harm(tmp_path):
    page = page_of(tmp_path, scene("<b>$x$</b>"))

    assert "<b>$x$" not in page
    assert "&lt;b&gt;$x$" in page


def test_units_that_are_missing_are_named(tmp_path):
    keys = [UnitKey(m, f, 0) for m in ("good", "poor") for f in range(3)]

    assert "good, fold 2" in re.sub(r"\s+", " ", page_of(tmp_path, planned=keys))


def test_the_picture_is_drawn(tmp_path):
    write_comparison(tmp_path, comparison(), ())

    picture = matplotlib.image.imread(tmp_path / "comparison.png")
    assert min(picture.shape[:2]) > 300
    assert picture[..., :3].std() > 0.05


@pytest.mark.slow
def test_ground_that_one_model_alone_has_right_has_its_colour():
    alike = scene()
    alike = DifferenceMap(
        scene_id="a",
        backdrop=alike.backdrop,
        truth=alike.truth,
        mapped={"good": alike.truth, "poor": alike.truth},
        gsd_m=30.0,
    )

    same, other = (
        matplotlib.image.imread(io.BytesIO(draw_differences(s, GLACIER, ["good", "poor"])))
        for s in (alike, scene())
    )

    assert same.shape == other.shape
    assert (np.abs(same - other) > 0.1).any(axis=-1).mean() > 0.01


def test_maps_on_other_pixels_are_refused():
    with pytest.raises(SceneError, match="not on the same pixels"):
        DifferenceMap(
            scene_id="a",
            backdrop=np.zeros((4, 5, 3), np.uint8),
            truth=np.zeros((4, 5), np.uint8),
            mapped={"good": np.zeros((5, 4), np.uint8)},
            gsd_m=30.0,
        )
