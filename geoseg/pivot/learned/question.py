"""What a network is asked: of each cell, the acquisitions near a day and what they show there."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import torch

from geoseg.pivot.learned.blur import blurred
from geoseg.pivot.learned.describe import (
    FIGURES,
    FIGURES_OF_VARIABLE,
    figures_of_variable,
    unit_of,
)
from geoseg.pivot.learned.network import Question
from geoseg.pivot.physical.climatology import YEAR_DAYS

if TYPE_CHECKING:
    from torch import Tensor

    from geoseg.pivot.learned.evidence import Evidence
    from geoseg.pivot.learned.stack import Stack

__all__ = ["SIZES", "asked", "of_cells", "together"]

_TIMES, _MAPS, _CELL = 5, 7, 7
# Features of a token and of a context, offers and innovations of a token.
SIZES = (FIGURES + _TIMES + _MAPS + 2, FIGURES_OF_VARIABLE + 2 + _CELL + 3, 3, 2)

_MOST = 6.0  # units or usual innovations: what is further off is as far
_LEAST_SD = 1e-3  # units


class _Moment(NamedTuple):
    """Cells (H, W) on the day that is asked for."""

    mean: Tensor
    level: Tensor


def asked(stack: Stack, day: float, near: int) -> Question:
    """Of all cells (N = H * W), with the `near` acquisitions before a day and as many after it."""
    unit = unit_of(stack.variable)
    expected = stack.evidence.expected(day)
    regression = _Moment(expected, blurred(expected[None])[0])
    chosen, absent = _nearest(stack.evidence, day, near)
    offers = _offers(stack.evidence, regression, unit.size)
    innovations = _innovations(stack, unit.size)
    maps = [*_maps(stack, offers), *(one.clamp(-_MOST, _MOST) for one in innovations)]
    mean, log_sd = _physical(stack, day, expected)
    start = (expected - unit.middle) / unit.size
    context = [*_context(stack, regression, day), mean - start, log_sd]
    modelled = torch.full((len(chosen),), stack.track is not None)
    return Question(
        tokens=torch.cat([_times(stack, day, chosen), _picked(maps, chosen)], dim=-1),
        absent=absent,
        offers=_picked(offers, chosen).masked_fill(absent[..., None], 0.0),
        innovations=_picked(innovations, chosen).masked_fill(absent[..., None], 0.0),
        context=torch.cat([_calendar(stack, day), _flat(context), modelled[:, None]], dim=-1),
        regression=start.flatten(),
        physical=_flat([mean, log_sd]),
        modelled=modelled,
    )


def of_cells(question: Question, cells: Tensor | slice) -> Question:
    """The same of some of the cells."""
    return Question(*(part[cells] for part in question))


def together(questions: list[Question]) -> Question:
    """One question of the cells of several, each with as many tokens."""
    return Question(*(torch.cat(parts) for parts in zip(*questions, strict=True)))


def _nearest(evidence: Evidence, day: float, near: int) -> tuple[Tensor, Tensor]:
    """Places (N, K) of acquisitions that show a cell, nearest first, and whether there is none."""
    gap = (evidence.days - day).float()
    seen = evidence.seen.flatten(1)
    sides = []
    for side in (gap <= 0, gap > 0):
        far = gap.abs()[:, None].masked_fill(~(seen & side[:, None]), torch.inf)
        if len(far) < near:
            far = torch.nn.functional.pad(far, (0, 0, 0, near - len(far)), value=torch.inf)
        found = far.topk(near, dim=0, largest=False)
        sides.append((found.indices, torch.isinf(found.values)))
    places = torch.cat([one for one, _ in sides]).T
    absent = torch.cat([none for _, none in sides]).T
    return places.masked_fill(absent, 0), absent


def _offers(evidence: Evidence, now: _Moment, size: float) -> list[Tensor]:
    """By which each acquisition (T, H, W) would move a mean: around a cell, in it, and since then.

    Around a cell the ground changes with the season; how the cell differs from its surroundings
    stays longer, and is told by more days. The last is what was beyond the regression on its day.
    """
    around = (evidence.level - now.level) / size
    inside = (evidence.values - evidence.level - (now.mean - now.level)) / size
    return [around, inside, evidence.innovation * (evidence.scale / size)]


def _innovations(stack: Stack, size: float) -> list[Tensor]:
    """What each acquisition (T, H, W) shows beyond the physical posterior of its own day."""
    evidence, track = stack.evidence, stack.track
    if track is None:
        return [torch.zeros_like(evidence.values)] * 2
    around = (evidence.level - track.level) / size
    inside = (evidence.values - evidence.level - (track.mean - track.level)) / size
    return [around, inside]


def _maps(stack: Stack, offers: list[Tensor]) -> list[Tensor]:
    """Features (T, H, W) of tokens."""
    evidence = stack.evidence
    seen = blurred(evidence.seen.float())
    shown = [evidence.innovation, evidence.around, stack.sky[:, 0], stack.sky[:, 1], *offers[:2]]
    return [seen, *(one.clamp(-_MOST, _MOST) for one in shown)]


def _context(stack: Stack, now: _Moment, day: float) -> list[Tensor]:
    """Features (H, W) of a cell on a day."""
    evidence, unit = stack.evidence, unit_of(stack.variable)
    gap = (evidence.days - day).float()
    weight = evidence.weight
    near = torch.tensordot(torch.exp(-gap.abs() / 10), weight, dims=1)
    wide = torch.tensordot(torch.exp(-gap.abs() / 40), weight, dims=1).clamp_min(1e-3)
    beyond = torch.where(evidence.seen, evidence.values - now.mean, 0.0) / unit.size
    spread = torch.tensordot(torch.exp(-gap.abs() / 40), weight * beyond.clamp(-3, 3) ** 2, dims=1)
    slope = torch.tensordot(gap.sign() * torch.exp(-gap.abs() / 20), weight * beyond, dims=1)
    rough = blurred(((now.mean - now.level)[None] / unit.size) ** 2)[0]
    return [
        (now.mean - unit.middle) / (4 * unit.size),
        (now.mean - now.level) / unit.size,
        rough.clamp_min(1e-4).log(),
        near.clamp_min(1e-3).log(),
        (spread / wide).clamp_min(1e-4).log(),
        slope.clamp(-_MOST, _MOST),
        torch.full_like(now.mean, math.log(evidence.scale / unit.size)),
    ]


def _times(stack: Stack, day: float, chosen: Tensor) -> Tensor:
    """Features (N, K, _TIMES + FIGURES) of tokens that all cells share."""
    gap = (stack.evidence.days - day).float()
    far = gap.abs()
    times = [gap / 30, torch.log1p(far), torch.exp(-far / 5), torch.exp(-far / 20), gap.sign()]
    shared = torch.cat([torch.stack(times, -1).clamp(-_MOST, _MOST), stack.figures], dim=-1)
    return shared[chosen]


def _calendar(stack: Stack, day: float) -> Tensor:
    """Features (N, FIGURES_OF_VARIABLE + 2) that all cells share."""
    phase = 2 * math.pi * (day % YEAR_DAYS) / YEAR_DAYS
    shared = [*figures_of_variable(stack.variable), math.sin(phase), math.cos(phase)]
    return torch.tensor(shared).expand(stack.evidence.seen[0].numel(), -1)


def _physical(stack: Stack, day: float, expected: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and log sd (H, W) of the posterior in units; the regression and 0 without one."""
    unit = unit_of(stack.variable)
    if stack.track is None:
        return (expected - unit.middle) / unit.size, torch.zeros_like(expected)
    moment = stack.track.posterior.moment(stack.variable, day)
    sd = (moment.detail_variance + moment.region_variance).sqrt() / unit.size
    return (moment.mean - unit.middle) / unit.size, sd.clamp_min(_LEAST_SD).log()


def _picked(maps: list[Tensor], chosen: Tensor) -> Tensor:
    """Features (N, K, M) of the chosen acquisitions, of maps (T, H, W)."""
    cells = torch.arange(len(chosen))[:, None]
    return torch.stack([one.flatten(1)[chosen, cells] for one in maps], dim=-1)


def _flat(maps: list[Tensor]) -> Tensor:
    return torch.stack([one.flatten() for one in maps], dim=-1)
