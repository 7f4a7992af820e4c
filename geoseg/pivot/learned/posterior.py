"""What a network makes of the acquisitions of a piece of ground, on any day that is asked for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from geoseg.errors import SceneError
from geoseg.pivot.learned.describe import unit_of
from geoseg.pivot.learned.network import Answer, Question
from geoseg.pivot.learned.question import asked, of_cells
from geoseg.pivot.physical.posterior import Estimate

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from odc.geo.geobox import GeoBox
    from torch import Tensor

    from geoseg.pivot.learned.describe import Unit
    from geoseg.pivot.learned.evidence import Evidence
    from geoseg.pivot.learned.network import PivotNetwork
    from geoseg.pivot.learned.stack import Stack
    from geoseg.pivot.measurement.looks import Look

__all__ = ["LearnedPosterior", "observed"]

_CELLS_AT_ONCE = 16384  # that a network attends to: about 200 MB


@dataclass(frozen=True, slots=True, kw_only=True)
class LearnedPosterior:
    """All variables of a piece of ground, for any day."""

    network: PivotNetwork
    near: int  # acquisitions of a cell on each side of a day
    grid: GeoBox
    acquisitions: tuple[str, ...]  # ids
    stacks: Mapping[str, Stack]

    @property
    def variables(self) -> tuple[str, ...]:
        """Names, in their order."""
        return tuple(self.stacks)

    @property
    def shape(self) -> tuple[int, int]:
        """Of the grid (H, W)."""
        return int(self.grid.shape.y), int(self.grid.shape.x)

    def at(self, days: Sequence[float]) -> Estimate:
        """On days since 1970, in any order.

        Validity is 1 - variance / variance of all that was measured of a variable, over cells and
        days: a network has no other prior.

        Raises:
            SceneError: no day.
        """
        if not days:
            raise SceneError("An estimate needs a day; name one or more.")
        moments = [[self.moment(name, day) for name in self.stacks] for day in days]
        mean, sd = _stacked(moments)
        usual = torch.tensor([_variance(one.evidence) for one in self.stacks.values()])
        nearest = [[_nearest(one, day) for one in self.stacks.values()] for day in days]
        age, source = _stacked(nearest)
        return Estimate(
            days=tuple(days),
            variables=self.variables,
            mean=mean,
            sd=sd,
            validity=(1 - sd**2 / usual[:, None, None]).clamp(0, 1),
            age_days=age,
            provenance=source,
        )

    def moment(self, variable: str, day: float) -> tuple[Tensor, Tensor]:
        """Mean and standard deviation (H, W) of a variable on a day."""
        answer = self._answer(variable, day)
        unit = unit_of(variable)
        mean = unit.middle + unit.size * answer.mean
        return mean.reshape(self.shape), (unit.size * answer.sd).reshape(self.shape)

    def predicted(self, look: Look, variable: str) -> tuple[Tensor, Tensor]:
        """What a look would measure (h, w), and its variance without the noise of the sensor."""
        answer = self._answer(variable, look.day)
        shared = self.network.shared.detach().cpu()
        return observed(answer, look, shared, self.shape, unit_of(variable))

    @torch.no_grad()
    def _answer(self, variable: str, day: float) -> Answer:
        """Of all cells, some at a time."""
        device = next(self.network.parameters()).device
        question = asked(self.stacks[variable], day, self.near)
        parts = []
        for first in range(0, len(question.modelled), _CELLS_AT_ONCE):
            some = of_cells(question, slice(first, first + _CELLS_AT_ONCE))
            parts.append(self.network(Question(*(one.to(device) for one in some))))
        return Answer(*(torch.cat(one).cpu() for one in zip(*parts, strict=True)))


def observed(
    answer: Answer, look: Look, shared: Tensor, shape: tuple[int, int], unit: Unit
) -> tuple[Tensor, Tensor]:
    """What a look would measure (h, w) of cells, in the unit of the variable, and its variance.

    Args:
        answer: of the cells (H * W,).
        look: at them.
        shared: share of their variance by which all cells of a pixel are off together.
        shape: (H, W).
        unit: of the answer.
    """
    mean = look.footprint.forward(unit.middle + unit.size * answer.mean.reshape(shape))
    sd = unit.size * answer.sd.reshape(shape)
    together = look.footprint.forward(sd) ** 2
    return mean, shared * together + (1 - shared) * look.footprint.spread(sd**2)


def _stacked(rows: Sequence[Sequence[tuple[Tensor, Tensor]]]) -> tuple[Tensor, Tensor]:
    """Both parts (D, V, H, W) of pairs (H, W) by day and variable."""
    first, second = (
        torch.stack([torch.stack([pair[part] for pair in row]) for row in rows]) for part in (0, 1)
    )
    return first, second


def _variance(evidence: Evidence) -> float:
    """About 0, so that nothing is valid, where only cells beside the grid were seen."""
    shown = evidence.values[evidence.seen]
    return max(float(shown.var()), 1e-12) if len(shown) > 1 else 1e-12


def _nearest(stack: Stack, day: float) -> tuple[Tensor, Tensor]:
    """Days to the nearest measurement of each cell (H, W), and its acquisition; -1 where none."""
    gap = (stack.evidence.days - day).abs().float()[:, None, None]
    far = gap.expand(stack.evidence.seen.shape).masked_fill(~stack.evidence.seen, torch.inf)
    age, place = far.min(dim=0)
    return age, stack.sources[place].masked_fill(torch.isinf(age), -1)
