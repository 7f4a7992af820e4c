"""Chips in the loaders of other toolkits."""

import pytest
import torch
from conftest import HEIGHT
from rasterio.windows import Window
from torch.utils.data import DataLoader

from geoseg.chips import ChipSource, GridChips, MixedChips, RandomChips, Samples
from geoseg.config import ChipSettings
from geoseg.errors import ConfigError
from geoseg.labels import GLACIER, IGNORE, place_labels, read_outlines
from geoseg.scenes import open_scene

SETTINGS = ChipSettings(size_px=32)


@pytest.fixture
def source(example):
    with open_scene(example.scene) as reader:
        table = read_outlines(example.outlines, GLACIER, layer=None, class_of="glacier")
        labels = place_labels(table, reader.grid, GLACIER, margin_m=15)
    source = ChipSource(example.scene, labels, ("red", "nir08"))
    yield source
    source.close()


@pytest.fixture
def grid(source):
    return GridChips(source, Window(0, 0, 100, HEIGHT), SETTINGS)


def test_a_loader_of_torch_stacks_samples_with_their_masks(grid):
    batches = list(DataLoader(Samples(grid), batch_size=5))

    assert sum(len(batch["image"]) for batch in batches) == len(grid) == 12
    batch = batches[0]
    assert batch["image"].shape == (5, 2, 32, 32)
    assert (batch["image"].dtype, batch["mask"].dtype) == (torch.float32, torch.int64)
    for number in range(5):
        chip = grid[number]
        assert torch.equal(batch["image"][number], chip.image)
        assert torch.equal(batch["mask"][number], chip.label.long())
        assert torch.equal(batch["valid"][number], chip.valid)
    assert set(batches[-1]["mask"].unique().tolist()) <= {0, 1, IGNORE}
    assert batch["gsd_m"].tolist() == 5 * [30.0]


def test_random_chips_are_an_epoch_of_as_many_as_are_asked_for(source):
    random = RandomChips(source, Window(0, 0, 100, HEIGHT), SETTINGS, seed=1)
    samples = Samples(MixedChips([random], seed=1), count=6)

    found = [sample["mask"] for sample in samples]

    assert len(samples) == len(found) == 6
    assert not torch.equal(found[0], found[1])


def test_an_epoch_without_an_end_or_beyond_it_is_refused(source, grid):
    random = RandomChips(source, Window(0, 0, 100, HEIGHT), SETTINGS, seed=1)

    with pytest.raises(ConfigError, match="Random chips have no end; say with count"):
        Samples(random)
    with pytest.raises(ConfigError, match="There are 12 chips, and count = 13; ask for no more"):
        Samples(grid, count=13)


@pytest.mark.parametrize("count", [0, -3, 2.5, "4"])
def test_a_count_that_makes_no_epoch_is_refused(grid, count):
    with pytest.raises(ConfigError, match=rf"count = {count!r}; give a whole number above 0"):
        Samples(grid, count=count)


@pytest.mark.slow
def test_torchgeo_collates_them_and_its_trainer_learns_from_them(grid):
    import geoseg.models  # noqa: F401  torchgeo imports torchvision, which may not fit torch

    pytest.importorskip("torchgeo", exc_type=ImportError)
    from torchgeo.datasets import stack_samples
    from torchgeo.trainers import SemanticSegmentationTask

    loader = DataLoader(Samples(grid), batch_size=4, collate_fn=stack_samples)
    task = SemanticSegmentationTask(
        model="unet",
        backbone="resnet18",
        weights=None,
        in_channels=2,
        task="multiclass",
        num_classes=2,
        loss="ce",
        ignore_index=IGNORE,
    )

    batch = next(iter(loader))
    loss = task.criterion(task(batch["image"]), batch["mask"])
    loss.backward()

    assert batch["mask"].shape == (4, 32, 32)
    assert loss.isfinite()
    assert any(w.grad is not None and w.grad.abs().sum() > 0 for w in task.model.parameters())
