"""Looks of one variable filtered and smoothed to chains, and how well they tell looks held out."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from geoseg.pivot.physical.assimilate import Belief, Correlation, State, assimilate
from geoseg.pivot.physical.chain import Chain

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from torch import Tensor

    from geoseg.pivot.measurement.looks import Look
    from geoseg.pivot.physical.wander import Process

__all__ = ["held_out_score", "smooth_looks"]

_FARTHEST = 16.0  # squared standard deviations that a missed cloud counts for at most


def smooth_looks(
    looks: Sequence[Look], usual: Callable[[float], Tensor], process: Process
) -> tuple[Chain, Chain]:
    """Chains of detail and region, from the first look to the last and back.

    Args:
        looks: of one variable, in order.
        usual: climatology (H, W) on a day.
        process: of what cells do beyond it.
    """
    step_m = looks[0].footprint.step_m
    height, width = process.detail.sd.shape
    correlation = Correlation.of((height, width), step_m=step_m, width_m=process.region_m)
    nothing = torch.zeros(height, width)
    state = State(Belief(nothing, process.detail.sd**2), Belief(nothing, process.region.sd**2))
    days: list[float] = []
    states: list[State] = []
    for look in looks:
        if days:
            apart = look.day - days[-1]
            state = State(
                Belief(*process.detail.carried(*state.detail, apart)),
                Belief(*process.region.carried(*state.region, apart)),
            )
        state = assimilate(state, look, usual(look.day), correlation)
        if days and days[-1] == look.day:
            states[-1] = state
        else:
            days.append(look.day)
            states.append(state)
    return (
        Chain.smoothed(process.detail, days, [one.detail for one in states]),
        Chain.smoothed(process.region, days, [one.region for one in states]),
    )


def held_out_score(
    seen: Sequence[Look],
    hidden: Sequence[Look],
    usual: Callable[[float], Tensor],
    process: Process,
) -> float:
    """Mean log density of pixels of hidden looks, given the others."""
    detail, region = smooth_looks(seen, usual, process)
    scores = []
    for look in hidden:
        valid = look.valid
        fine, coarse = detail.at(look.day), region.at(look.day)
        expected = look.footprint.forward(usual(look.day) + fine.mean + coarse.mean)
        variance = look.footprint.variance(fine.variance, coarse.variance)
        variance = (variance + look.variance + look.shared_sd**2)[valid]
        squared = (look.measured - expected)[valid] ** 2 / variance
        scores.append(-0.5 * (variance.log() + squared.clamp(max=_FARTHEST)))
    return float(torch.cat(scores).mean())
