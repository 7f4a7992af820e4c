"""Learning from scenes without labels."""

import pytest
import torch

from geoseg.chips import Batch
from geoseg.config import AdaptationSettings
from geoseg.labels import IGNORE
from geoseg.sensors import find_sensor
from geoseg.training.adapt import Teacher, style_of

PAN = find_sensor("hexagon-kh9-mapping").bands
S2 = find_sensor("sentinel-2").bands[1:4]


class Threshold(torch.nn.Module):
    """Says class 1 of bright pixels, the surer the brighter."""

    def forward(self, view):
        return torch.stack([-view.image[:, 0], view.image[:, 0]], dim=1) * 5


def batch_of(image, bands=PAN):
    count, _, height, width = image.shape
    return Batch(
        image,
        torch.ones(count, height, width, dtype=torch.bool),
        torch.full((count, height, width), IGNORE, dtype=torch.uint8),
        image.flatten(2),
        torch.full((count,), 10.0),
        bands,
    )


def settings(*methods, **more):
    scene = {"path": "film.tif", "sensor": "hexagon-kh9-mapping", "date": "1975-08-01"}
    return AdaptationSettings(scenes=[scene], methods=methods, **more)


def test_only_sure_answers_become_labels():
    image = torch.zeros(1, 1, 8, 8)
    image[..., :4], image[..., 4:6] = 1.0, -1.0
    teacher = Teacher(Threshold(), settings("self_training", confidence=0.9))

    (lesson,) = teacher.lessons([batch_of(image)])

    assert (lesson.label[..., :4] == 1).all()
    assert (lesson.label[..., 4:6] == 0).all()
    assert (lesson.label[..., 6:] == IGNORE).all()
    assert not torch.equal(lesson.image, image)


def test_what_is_not_valid_is_no_lesson():
    batch = batch_of(torch.ones(1, 1, 8, 8))
    batch.valid[:, :3] = False
    (lesson,) = Teacher(Threshold(), settings("self_training")).lessons([batch])

    assert (lesson.label[:, :3] == IGNORE).all()


def test_without_self_training_nothing_is_taught():
    teacher = Teacher(Threshold(), settings("histogram"))

    assert teacher.lessons([batch_of(torch.ones(1, 1, 8, 8))]) == []


def test_the_weight_of_the_lessons_rises():
    teacher = Teacher(Threshold(), settings("self_training", weight=0.5, warmup_steps=9))

    assert [teacher.weight(step) for step in (0, 4, 9, 100)] == [0.05, 0.25, 0.5, 0.5]


@pytest.mark.parametrize("method", ["histogram", "fourier"])
def test_only_chips_of_the_bands_of_the_target_take_its_style_and_only_now_and_then(method):
    torch.manual_seed(0)
    pan, colour = batch_of(torch.rand(2, 1, 16, 16)), batch_of(torch.rand(2, 3, 16, 16), S2)
    target = batch_of(torch.rand(2, 1, 16, 16) ** 3 * 200)

    styled = [style_of([target], [pan, colour], settings(method)) for _ in range(20)]

    changed = [not torch.equal(first.image, pan.image) for first, _ in styled]
    assert 4 < sum(changed) < 16
    assert all(torch.equal(second.image, colour.image) for _, second in styled)
