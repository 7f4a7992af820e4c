"""Smoothed beliefs at the days of measurements, tied into a chain that answers for any day.

Between knots the wander is a Markov process, so that three numbers of each knot and cell are all
that there is to know: its mean, its variance and its gain on the next knot. A day in between comes
from its two neighbours, and a belief that changes at one knot moves the others by the gains between
them: that is how a new scene is taken in without a new run (Rauch, Tung and Striebel 1965).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from geoseg.pivot.physical.assimilate import Belief
from geoseg.pivot.physical.wander import Wander

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

__all__ = ["Chain", "bridge", "kept_and_fresh"]

_NEGLIGIBLE = 1e-5  # of a gain, at which a change is not carried on


@dataclass(frozen=True, slots=True, kw_only=True)
class Chain:
    """Beliefs at knots, in order of days."""

    wander: Wander
    days: tuple[float, ...]  # (K,), each later than the one before
    mean: Tensor  # (K, H, W)
    variance: Tensor  # (K, H, W)
    gain: Tensor  # (K, H, W) by which a knot follows the next one; 0 at the last

    @classmethod
    def smoothed(cls, wander: Wander, days: Sequence[float], filtered: Sequence[Belief]) -> Chain:
        """From beliefs each of which knows of the days up to its own."""
        means, variances = zip(*filtered, strict=True)
        return cls.tied(wander, days, Belief(torch.stack(means), torch.stack(variances)))

    @classmethod
    def tied(cls, wander: Wander, days: Sequence[float], filtered: Belief) -> Chain:
        """As `smoothed`, of beliefs (K, H, W) in one piece, whose memory becomes the chain's."""
        mean, variance = filtered
        gain = torch.empty_like(mean)
        gain[-1] = 0
        prior = wander.sd**2
        ahead, ratio, fall = (torch.empty_like(prior) for _ in range(3))
        means, variances, gains = mean.unbind(), variance.unbind(), gain.unbind()
        for k in reversed(range(len(days) - 1)):
            kept, fresh = kept_and_fresh(wander.days, days[k + 1] - days[k])
            torch.lerp(variances[k], prior, fresh, out=ahead)
            torch.div(variances[k], ahead, out=ratio)
            torch.mul(ratio, kept, out=gains[k])
            torch.sub(means[k + 1], means[k], alpha=kept, out=fall)
            means[k].addcmul_(gains[k], fall)
            # A sum of two variances, for their usual difference has no digits left where a day
            # without a measurement is close to a precise one.
            torch.mul(gains[k], variances[k + 1], out=fall).mul_(gains[k])
            torch.addcmul(fall, ratio, prior, value=fresh, out=variances[k])
        return cls(wander=wander, days=tuple(days), mean=mean, variance=variance, gain=gain)

    def at(self, day: float) -> Belief:
        """On any day."""
        after = int(np.searchsorted(self.days, day, side="right"))
        if after == 0:
            return self._from(0, day)
        if after == len(self.days) or self.days[after - 1] == day:
            return self._from(after - 1, day)
        return self._between(after - 1, day)[0]

    def with_knot(self, day: float) -> tuple[Chain, int]:
        """The same chain with a knot on a day, and the place of it."""
        after = int(np.searchsorted(self.days, day, side="left"))
        if after < len(self.days) and self.days[after] == day:
            return self, after
        mean, variance = self.at(day)
        before, behind = torch.zeros_like(mean), torch.zeros_like(mean)
        if after > 0:
            before = self._covariance(after - 1, day) / variance
        if after < len(self.days):
            last = self._backward(after, day)
            behind = last / self.variance[after]
        gain = self.gain.clone()
        if after > 0:
            gain[after - 1] = before
        return (
            Chain(
                wander=self.wander,
                days=(*self.days[:after], day, *self.days[after:]),
                mean=_put(self.mean, after, mean),
                variance=_put(self.variance, after, variance),
                gain=_put(gain, after, behind),
            ),
            after,
        )

    def corrected(self, knot: int, belief: Belief) -> Chain:
        """The chain after the belief at a knot has changed, by what was measured there."""
        mean, variance, gain = self.mean.clone(), self.variance.clone(), self.gain.clone()
        moved, shrunk = belief.mean - mean[knot], belief.variance - variance[knot]
        mean[knot], variance[knot] = belief
        share = torch.ones_like(moved)
        for k in range(knot - 1, -1, -1):
            share = share * self.gain[k]
            if float(share.abs().max()) < _NEGLIGIBLE:
                break
            mean[k] += share * moved
            variance[k] += share**2 * shrunk
        share = torch.ones_like(moved)
        for k in range(knot, len(self.days) - 1):
            tied = self.gain[k] * self.variance[k + 1]
            onward = share * tied / self.variance[k]
            # What both knots share of the change is lost to what ties them.
            tied = tied + share * onward * shrunk
            mean[k + 1] += onward * moved
            variance[k + 1] += onward**2 * shrunk
            gain[k] = tied / variance[k + 1]
            share = onward
            if float(share.abs().max()) < _NEGLIGIBLE:
                break
        return Chain(wander=self.wander, days=self.days, mean=mean, variance=variance, gain=gain)

    def cropped(self, part: tuple[slice, slice]) -> Chain:
        """Of some rows and columns of the cells."""
        inner = (slice(None), *part)
        return Chain(
            wander=Wander(sd=self.wander.sd[part].clone(), days=self.wander.days),
            days=self.days,
            mean=self.mean[inner].clone(),
            variance=self.variance[inner].clone(),
            gain=self.gain[inner].clone(),
        )

    def _from(self, knot: int, day: float) -> Belief:
        """Beyond the first or the last knot."""
        apart = day - self.days[knot]
        return Belief(*self.wander.carried(self.mean[knot], self.variance[knot], apart))

    def _between(self, knot: int, day: float) -> tuple[Belief, Tensor, Tensor]:
        """Between a knot and the next; with how a day follows each of the two."""
        left, right, fresh = bridge(
            self.wander.days, day - self.days[knot], self.days[knot + 1] - day
        )
        own = fresh * self.wander.sd**2
        tied = self.gain[knot] * self.variance[knot + 1]
        mean = left * self.mean[knot] + right * self.mean[knot + 1]
        variance = (
            own
            + left**2 * self.variance[knot]
            + right**2 * self.variance[knot + 1]
            + 2 * left * right * tied
        )
        with_left = left * self.variance[knot] + right * tied
        with_right = right * self.variance[knot + 1] + left * tied
        return Belief(mean, variance), with_left, with_right

    def _covariance(self, knot: int, day: float) -> Tensor:
        """Of a knot and a later day before the next knot."""
        if knot == len(self.days) - 1:
            return self.wander.kept(day - self.days[knot]) * self.variance[knot]
        return self._between(knot, day)[1]

    def _backward(self, knot: int, day: float) -> Tensor:
        """Of a knot and an earlier day after the one before."""
        if knot == 0:
            return self.wander.kept(self.days[0] - day) * self.variance[0]
        return self._between(knot - 1, day)[2]


def _put(knots: Tensor, place: int, cells: Tensor) -> Tensor:
    return torch.cat([knots[:place], cells[None], knots[place:]])


def kept_and_fresh(scale: float, days: float) -> tuple[float, float]:
    """Share of where the wander was that is left after some days, and of variance that is new."""
    return math.exp(-days / scale), -math.expm1(-2 * days / scale)


def bridge(scale: float, since: float, until: float) -> tuple[float, float, float]:
    """How a day follows the knots before and after, and the share of variance of its own."""
    before, new_before = kept_and_fresh(scale, since)
    after, new_after = kept_and_fresh(scale, until)
    _, new = kept_and_fresh(scale, since + until)
    return before * new_after / new, after * new_before / new, new_before * new_after / new
