"""Several devices that train one network on one batch, each on a part of it.

Every rank reads its part of the chips of a step. The ranks then exchange what they read, change the
whole batch alike, by the same random numbers, and show the network a part each. The loss is that of
the whole batch: a dice or a mean over known pixels is no mean of those of parts. So a step is that
of one process with the whole batch, but for rounding.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

import torch
import torch.distributed as dist
from lightning_fabric import Fabric
from lightning_fabric.strategies.ddp import DDPStrategy

from geoseg.chips import Batch
from geoseg.errors import ConfigError, ModelError
from geoseg.training.averaging import fabric_alone, precision_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from lightning_fabric.loggers.logger import Logger
    from torch import Tensor

    from geoseg.config import Recipe
    from geoseg.sensors import Band

__all__ = ["Devices", "Ranks", "require_shares", "start_fabric"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Devices:
    """Devices that train one network together; this process is the rank of one of them.

    Processes on a CPU count as devices.
    """

    kind: torch.device
    each: int = 1  # of a node
    nodes: int = 1

    @property
    def count(self) -> int:
        """All of them."""
        return self.each * self.nodes


def require_shares(recipe: Recipe, count: int) -> None:
    """Refuse batches that so many devices cannot share alike.

    Raises:
        ConfigError: a batch is no multiple of them.
    """
    batches = {"training.batch": recipe.training.batch}
    if recipe.adaptation.scenes:
        batches["adaptation.batch"] = recipe.adaptation.batch
    for key, batch in batches.items():
        if batch % count:
            raise ConfigError(
                f"{key} = {batch} cannot be shared alike by {count} devices; set it to "
                f"{count * (batch // count + 1)}."
            )


def start_fabric(devices: Devices, log: Logger) -> Fabric:
    """What runs a training on devices; for several this process has to be one of their ranks."""
    kind = devices.kind
    if devices.count == 1:
        return fabric_alone(kind, [log])
    with warnings.catch_warnings():
        # Where there is Slurm, Fabric asks for srun, which processes of one machine do without.
        warnings.filterwarnings("ignore", "The `srun` command")
        fabric = Fabric(
            accelerator=kind.type,
            devices=devices.each if kind.index is None else [kind.index],
            num_nodes=devices.nodes,
            # Some encoders have weights that their features do not need.
            strategy=DDPStrategy(find_unused_parameters=True),
            precision=precision_of(kind),
            loggers=[log],
        )
    fabric.launch()
    return fabric


class Ranks:
    """What the ranks of a training exchange; of one rank nothing.

    Args:
        fabric: that runs the training.
    """

    def __init__(self, fabric: Fabric) -> None:
        self._fabric = fabric
        self.count = fabric.world_size
        self.number = fabric.global_rank
        self.device = fabric.device

    @property
    def first(self) -> bool:
        """Whether this one writes."""
        return self.number == 0

    def indices(self, batch: int, *, first: int, steps: int) -> Iterator[list[int]]:
        """The numbers of the chips of each step that this rank reads."""
        own = batch // self.count
        for step in range(first, steps):
            start = step * batch + self.number * own
            yield list(range(start, start + own))

    def whole(self, batches: Sequence[Batch], kinds: Sequence[tuple[Band, ...]]) -> list[Batch]:
        """The batch of all ranks, in the order in which one process would have stacked it.

        Args:
            batches: of this rank, on its device.
            kinds: all sets of bands that a rank may hold, alike on all ranks.
        """
        if self.count == 1:
            return list(batches)
        held = {batch.bands: batch for batch in batches}
        places = {batch.bands: place for place, batch in enumerate(batches)}
        told = [[len(held[k].image), places[k]] if k in held else [0, 0] for k in kinds]
        known = self._gathered(torch.tensor(told))  # (ranks, kinds, 2)
        found: list[tuple[tuple[int, int], Batch]] = []
        for number, kind in enumerate(kinds):
            counts, order = known[:, number].unbind(dim=1)
            if not counts.any():
                continue
            earliest = int(counts.nonzero()[0])
            own = held.get(kind, _no_chips(batches[0], kind))
            found.append(((earliest, int(order[earliest])), self._joined(own, counts.tolist())))
        return [batch for _, batch in sorted(found, key=lambda one: one[0])]

    def part(self, batches: Sequence[Batch]) -> list[Batch]:
        """What this rank shows the network of batches that all ranks hold."""
        if self.count == 1:
            return list(batches)
        own = sum(len(batch.image) for batch in batches) // self.count
        first, parts = self.number * own, []
        for batch in batches:
            size = len(batch.image)
            low, high = max(first, 0), min(first + own, size)
            if low < high:
                parts.append(batch.part(slice(low, high)))
            first -= size
        return parts

    def of_all(self, own: Tensor) -> Tensor:
        """Rows (N, ...) of all ranks in their order; only those of this one have a gradient."""
        if self.count == 1:
            return own
        parts = list(self._gathered(own.detach()))
        parts[self.number] = own
        return torch.cat(parts)

    def summed(self, own: Tensor) -> Tensor:
        """The sum over ranks."""
        return cast("Tensor", self._fabric.all_reduce(own, reduce_op="sum"))

    def require_same(self, step: int) -> None:
        """Refuse ranks that go on from different steps.

        Raises:
            ModelError: they read other files.
        """
        if self.count > 1 and len(steps := set(self._gathered(torch.tensor(step)).tolist())) > 1:
            raise ModelError(
                f"The ranks found checkpoints of the steps {sorted(steps)}; put the folder on a "
                "disk that all nodes share."
            )

    def wait(self) -> None:
        """Until all ranks are here."""
        self._fabric.barrier()

    def _gathered(self, own: Tensor) -> Tensor:
        """Tensors of one shape, stacked."""
        own = own.to(self.device).contiguous()
        parts = [torch.empty_like(own) for _ in range(self.count)]
        dist.all_gather(parts, own)
        return torch.stack(parts)

    def _joined(self, own: Batch, counts: Sequence[int]) -> Batch:
        """The chips of all ranks, of which each holds as many as counted."""
        most = max(counts)

        def join(tensor: Tensor) -> Tensor:
            missing = tensor.new_zeros((most - len(tensor), *tensor.shape[1:]))
            every = self._gathered(torch.cat([tensor, missing]))
            return torch.cat([rows[:n] for rows, n in zip(every, counts, strict=True)])

        return own.each(join)


def _no_chips(like: Batch, bands: tuple[Band, ...]) -> Batch:
    """A batch of other bands without a chip."""
    empty = like.part(slice(0, 0))
    return empty._replace(
        image=empty.image.new_zeros((0, len(bands), *like.image.shape[2:])),
        palette=empty.palette.new_zeros((0, len(bands), *like.palette.shape[2:])),
        bands=bands,
    )
