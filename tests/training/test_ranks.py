import os
import signal
import sys
import threading
import time
from pathlib import Path
from types import SimpleNamespace
from unittest import mock

import pytest
import torch
from rank_work import DOUBLE, work, write_scenes
from safetensors.torch import load_file
from timm.layers.norm_act import BatchNormAct2d, SyncBatchNormAct
from torch import nn

from geoseg.chips import Batch
from geoseg.config import Recipe
from geoseg.errors import ConfigError, ModelError
from geoseg.sensors import find_sensor
from geoseg.training import averaging, ranks, require_shares, run_ranks
from geoseg.training.norms import share_statistics
from geoseg.training.ranks import Ranks

# torchrun's agent leaves files of its own open that ranks which died wrote to.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")

WORK = str(Path(__file__).with_name("rank_work.py"))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """What two ranks learned, in three trainings; a rank of the last was killed on the way."""
    folder = tmp_path_factory.mktemp("ranks")
    write_scenes(folder)

    def kill():
        while 3 not in losses(folder / "killed"):
            time.sleep(0.01)
        os.kill(int((folder / "killed" / "pid-1").read_text()), signal.SIGKILL)

    killer = threading.Thread(target=kill, daemon=True)
    killer.start()
    environment = {"PYTHONPATH": str(Path(__file__).parents[1]), "OMP_NUM_THREADS": "1"}
    with mock.patch.dict(os.environ, environment):
        run_ranks([sys.executable, WORK, str(folder)], devices=2, logs=folder / "logs")
    killer.join()
    return folder


def losses(out):
    if not (out / "losses").exists():
        return {}
    rows = [line.split() for line in (out / "losses").read_text().splitlines()]
    return {int(row[0]): float(row[1]) for row in rows if len(row) == 2}


def rank(number, count=2):
    return Ranks(SimpleNamespace(world_size=count, global_rank=number, device=torch.device("cpu")))


def batch(first, count, sensor):
    bands = find_sensor(sensor).bands[:2]
    numbers = torch.arange(first, first + count, dtype=torch.float32)
    return Batch(
        image=numbers.view(-1, 1, 1, 1).expand(count, len(bands), 3, 5),
        valid=torch.ones(count, 3, 5, dtype=torch.bool),
        label=torch.zeros(count, 3, 5, dtype=torch.uint8),
        palette=torch.zeros(count, len(bands), 7),
        gsd_m=numbers,
        bands=bands,
    )


@pytest.mark.slow
def test_two_ranks_learn_as_one_process_does(folder, monkeypatch):
    for module in (ranks, averaging):
        monkeypatch.setattr(module, "precision_of", module.precision_of)  # the work changes it
    monkeypatch.setenv("RANK", "0")

    work(folder, folder / "one", 1, *DOUBLE)

    one, two = losses(folder / "one"), losses(folder / "two")
    assert list(one) == list(two) == [1, 2, 3, 4, 5, 6]
    assert max(abs(one[step] - two[step]) for step in one) < 1e-6
    # The weights of one process are those of plain normalisation.
    first, second = (load_file(folder / name / "state.safetensors") for name in ("one", "two"))
    assert first.keys() == second.keys()
    for key in first:
        torch.testing.assert_close(first[key], second[key], atol=1e-6, rtol=1e-5)


@pytest.mark.slow
def test_a_rank_that_is_killed_is_started_again_and_the_weights_are_the_same(folder):
    steps = [int(line.split()[0]) for line in (folder / "killed" / "losses").open()]
    assert steps[-1] == 6
    assert steps.count(3) == 2  # it went on from the checkpoint of step 2
    for name in ("model.safetensors", "state.safetensors"):
        assert (folder / "killed" / name).read_bytes() == (folder / "whole" / name).read_bytes()


@pytest.mark.slow
def test_ranks_that_fail_for_good_are_told_of(tmp_path):
    with pytest.raises(ModelError, match=r"ended with exit code 7 after 3 restarts.*Run again"):
        run_ranks([sys.executable, "-c", "exit(7)"], devices=2, logs=tmp_path)


def test_ranks_read_the_chips_of_each_step_between_them():
    read = [list(rank(number).indices(4, first=3, steps=5)) for number in (0, 1)]

    assert read == [[[12, 13], [16, 17]], [[14, 15], [18, 19]]]


def test_ranks_show_the_network_all_chips_between_them():
    batches = [batch(0, 1, "landsat-7"), batch(1, 3, "sentinel-2"), batch(4, 2, "landsat-7")]

    parts = [rank(number, 3).part(batches) for number in range(3)]

    shown = [[(b.bands, b.gsd_m.tolist()) for b in part] for part in parts]
    landsat, sentinel = batches[0].bands, batches[1].bands
    assert shown == [
        [(landsat, [0]), (sentinel, [1])],
        [(sentinel, [2, 3])],
        [(landsat, [4, 5])],
    ]


def test_a_single_rank_has_the_batch_as_it_is():
    batches = [batch(0, 3, "landsat-7")]

    assert rank(0, 1).whole(batches, ()) == rank(0, 1).part(batches) == batches
    assert rank(0, 1).of_all(batches[0].image) is batches[0].image


def test_a_batch_that_cannot_be_shared_alike_is_refused():
    recipe = Recipe(data="simulated-scene", training={"batch": 8})

    with pytest.raises(ConfigError, match=r"training\.batch = 8 cannot be shared.*3 .*set it to 9"):
        require_shares(recipe, 3)
    require_shares(recipe, 4)


def test_normalisation_is_shared_in_place_and_keeps_its_weights():
    network = nn.Sequential(nn.Conv2d(2, 4, 3), nn.BatchNorm2d(4), BatchNormAct2d(4))
    before, modules = network.state_dict(), list(network)

    share_statistics(network, SimpleNamespace(count=2, device=torch.device("cuda")))

    assert list(network) == modules
    assert isinstance(network[1], nn.SyncBatchNorm)
    assert isinstance(network[2], SyncBatchNormAct)
    assert network.state_dict().keys() == before.keys()
