"""Training of a network to predict what sensors measured in acquisitions hidden from it."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch

from geoseg.errors import ModelError, SceneError
from geoseg.pivot.learned.describe import Unit, unit_of
from geoseg.pivot.learned.hiding import hide
from geoseg.pivot.learned.network import Answer, PivotNetwork, Question
from geoseg.pivot.learned.pivot import LearnedPivot, LearnedSettings, network_of
from geoseg.pivot.learned.posterior import observed
from geoseg.pivot.learned.question import asked, of_cells, together
from geoseg.pivot.learned.stack import Stack, stacks_of, tracked
from geoseg.pivot.measurement.acquisition import in_order
from geoseg.pivot.measurement.looks import Look, looks_of
from geoseg.pivot.physical import PhysicalSettings, build_posterior

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from odc.geo.geobox import GeoBox
    from torch import Tensor

    from geoseg.pivot.measurement.acquisition import Acquisition

__all__ = ["Episode", "train_learned"]

_WINDOW = 24  # cells along each axis that a look is predicted on
_STEP = 8
_TRIES = 5
_AT_ONCE = 6  # looks
_MOST_NORM = 1.0  # of a gradient
# A cloud that a mask has missed: one pixel in fifty, off by four units or so (Tukey 1960).
_MISSED, _MISSED_SD = 0.02, 4.0


class Episode(NamedTuple):
    """Acquisitions of one piece of ground."""

    acquisitions: Sequence[Acquisition]
    grid: GeoBox


class _Lesson(NamedTuple):
    """An episode of which something is hidden."""

    stacks: Mapping[str, Stack]
    grid: GeoBox
    targets: tuple[tuple[Acquisition, str], ...]  # hidden, with a variable that it measured


class _Target(NamedTuple):
    """A look at a window, to be predicted from the cells of it."""

    look: Look
    cells: Tensor  # (N,) of the window on the grid
    shape: tuple[int, int]  # of the window
    unit: Unit


def train_learned(
    episodes: Sequence[Episode],
    settings: LearnedSettings | None = None,
    *,
    seed: int,
    device: torch.device | str = "cpu",
    physical: PhysicalSettings | None = None,
    progress: Callable[[int, float], None] | None = None,
) -> LearnedPivot:
    """A network that predicts acquisitions that were hidden from it.

    What is seen of all episodes is kept in memory: about 1 MB an acquisition of 64 x 64 cells with
    seven variables, and twice that with posteriors.

    Args:
        episodes: one or more, of other ground or other years than it is to be used on.
        settings: size of the network, and how long it is trained.
        seed: of its first weights and of what is hidden.
        device: that it is trained on.
        physical: how posteriors are made, without what is hidden, that the network corrects;
            none: it does without.
        progress: told the step and the mean loss of the last ones, every ten steps.

    Raises:
        SceneError: no episode, or one in which nothing can be hidden.
        ModelError: the loss is not finite.
    """
    if not episodes:
        raise SceneError("A network learns from episodes; give one or more.")
    settings = settings or LearnedSettings()
    rng = np.random.default_rng(seed)
    lessons = [
        # Posteriors are dear: one an episode, and the other lessons are without.
        _lesson(episode, rng, physical if k == 0 else None)
        for episode in episodes
        for k in range(settings.hidings)
    ]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = network_of(settings).to(device)
    _train(network, lessons, settings, rng, progress)
    return LearnedPivot(network=network.eval(), settings=settings, hybrid=physical is not None)


def _lesson(
    episode: Episode, rng: np.random.Generator, physical: PhysicalSettings | None
) -> _Lesson:
    ordered = in_order(episode.acquisitions)
    for _ in range(_TRIES):
        seen, hidden = hide(ordered, rng)
        stacks = stacks_of(seen, episode.grid)
        if physical is not None and physical.variables:
            stacks = {name: one for name, one in stacks.items() if name in physical.variables}
        targets = tuple(
            (one, name)
            for one in hidden
            for name in stacks
            if looks_of(one, name, episode.grid) is not None
        )
        # Without the only sensor that measures a variable, nothing is left to predict it from.
        if targets:
            break
    else:
        raise SceneError(
            "What is hidden of an episode shows nothing that the rest measures; give episodes of "
            "clearer days."
        )
    if physical is not None:
        stacks = tracked(stacks, build_posterior(seen, episode.grid, physical))
        targets = tuple((one, name) for one, name in targets if name in stacks)
    return _Lesson(stacks, episode.grid, targets)


def _train(
    network: PivotNetwork,
    lessons: Sequence[_Lesson],
    settings: LearnedSettings,
    rng: np.random.Generator,
    progress: Callable[[int, float], None] | None,
) -> None:
    optimizer = torch.optim.AdamW(network.parameters(), lr=settings.rate, weight_decay=1e-3)
    losses = []
    for step in range(settings.steps):
        for group in optimizer.param_groups:
            group["lr"] = settings.rate * _share_of_rate(step, settings.steps)
        loss = _loss(network, lessons, settings, rng)
        if not torch.isfinite(loss):
            raise ModelError(
                f"The loss of step {step} is {float(loss.detach())}; give a lower rate, or look "
                "for acquisitions with absurd values."
            )
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), _MOST_NORM)
        optimizer.step()
        losses.append(float(loss.detach()))
        if progress is not None and (step + 1) % 10 == 0:
            progress(step + 1, float(np.mean(losses[-10:])))


def _share_of_rate(step: int, steps: int) -> float:
    """Up within the first steps, then down by half a cosine."""
    return min(1.0, (step + 1) / 20) * 0.5 * (1 + math.cos(math.pi * step / steps))


def _loss(
    network: PivotNetwork,
    lessons: Sequence[_Lesson],
    settings: LearnedSettings,
    rng: np.random.Generator,
) -> Tensor:
    """Of some looks, each at a window of its lesson."""
    device = next(network.parameters()).device
    questions: list[Question] = []
    targets: list[_Target] = []
    for _ in range(_AT_ONCE):
        lesson = lessons[int(rng.integers(len(lessons)))]
        acquisition, variable = lesson.targets[int(rng.integers(len(lesson.targets)))]
        target = _target(acquisition, variable, lesson.grid, rng)
        whole = asked(lesson.stacks[variable], acquisition.day, settings.near)
        questions.append(of_cells(whole, target.cells))
        targets.append(target)
    question = Question(*(part.to(device) for part in together(questions)))
    answer = network(question)
    counts = [len(target.cells) for target in targets]
    parts = zip(answer.mean.split(counts), answer.sd.split(counts), targets, strict=True)
    scores = [_score(Answer(mean, sd), network.shared, target) for mean, sd, target in parts]
    return torch.stack(scores).mean()


def _target(
    acquisition: Acquisition, variable: str, grid: GeoBox, rng: np.random.Generator
) -> _Target:
    """At a window that shows something, and at the whole grid where none is found."""
    height, width = (int(side) for side in grid.shape)
    for _ in range(_TRIES):
        rows, columns = _part(height, rng), _part(width, rng)
        look = looks_of(acquisition, variable, grid[rows, columns])
        if look is not None:
            break
    else:
        rows, columns = slice(0, height), slice(0, width)
        look = looks_of(acquisition, variable, grid)
        assert look is not None  # or it were no target of its lesson
    cells = torch.arange(height * width).reshape(height, width)[rows, columns]
    return _Target(look, cells.flatten(), (cells.shape[0], cells.shape[1]), unit_of(variable))


def _part(side: int, rng: np.random.Generator) -> slice:
    """Where a window lies along an axis; at few places, for the footprints of each are kept."""
    first = _STEP * int(rng.integers(max(0, side - _WINDOW) // _STEP + 1))
    return slice(first, min(first + _WINDOW, side))


def _score(answer: Answer, shared: Tensor, target: _Target) -> Tensor:
    """Mean negative log-likelihood of valid pixels, some of which may be clouds."""
    look, unit = target.look, target.unit
    mean, variance = observed(answer, look, shared, target.shape, unit)
    valid = look.valid.to(mean.device)
    noise = (look.variance + look.shared_sd**2).to(mean)[valid] / unit.size**2
    off = (mean[valid] - look.measured.to(mean)[valid]) / unit.size
    clear = _log_normal(off, variance[valid] / unit.size**2 + noise)
    cloud = _log_normal(off, variance[valid] / unit.size**2 + noise + _MISSED_SD**2)
    mixed = torch.logaddexp(clear + math.log(1 - _MISSED), cloud + math.log(_MISSED))
    return -mixed.mean()


def _log_normal(off: Tensor, variance: Tensor) -> Tensor:
    return -0.5 * (off**2 / variance + variance.log() + math.log(2 * math.pi))
