import pytest
import torch
from torch import nn

from geoseg.config import Recipe
from geoseg.data import LabelledScene
from geoseg.labels import GLACIER
from geoseg.training import compile_problem, gather, new_segmenter, train


@pytest.fixture
def learned(example, tmp_path):
    """A function that trains for two steps and gives the losses."""

    def learn(name, on_convolution=None, **settings):
        recipe = Recipe(
            data="simulated-scene",
            chips={"size_px": 64},
            training={"steps": 2, "batch": 2, "validate_every": 2, **settings},
        )
        source = LabelledScene(
            scene=example.scene,
            outlines=example.outlines,
            layer=None,
            class_of="glacier",
            scheme=GLACIER,
        )
        material = gather([source], (), recipe)
        segmenter = new_segmenter(material.spec, recipe)
        if on_convolution is not None:
            for module in segmenter.network.encoder.modules():
                if isinstance(module, nn.Conv2d):
                    module.register_forward_pre_hook(on_convolution)
        losses = []
        train(
            segmenter,
            material.chips,
            recipe,
            folder=tmp_path / name,
            device=torch.device("cpu"),
            record={"training_hash": "t", "data_hash": "d"},
            on_step=lambda report: losses.append(report.loss),
        )
        return losses

    return learn


@pytest.mark.slow
def test_a_network_learns_with_channels_last(learned):
    seen = []

    def look(_, given):
        seen.append(given[0].is_contiguous(memory_format=torch.channels_last))

    learned("run", look)

    # The first convolution turns the layout of the image; a copy before it would cost the same.
    assert sum(seen) >= len(seen) - 2
    assert len(seen) > 30


@pytest.mark.slow
def test_chips_read_ahead_by_processes_are_the_same(learned):
    assert learned("ahead", workers=2) == learned("here")


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # torch's compiler, of torch itself
def test_without_a_compiler_the_network_is_trained_as_it_is(learned, tmp_path, monkeypatch):
    import torch._inductor.config as inductor

    monkeypatch.setattr(inductor.cpp, "cxx", (str(tmp_path / "no-compiler"),))
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path / "cache"))
    compile_problem.cache_clear()

    told = compile_problem(torch.device("cpu"))

    assert told is not None
    assert told.startswith("training.compile: torch cannot compile for cpu here")
    assert learned("compiled", compile=True) == learned("plain")
    compile_problem.cache_clear()
