"""The network of land cover is taught, and asked."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
from torch.nn.functional import cross_entropy

from geoseg.errors import LabelError, ModelError
from geoseg.landcover.attention import TemporalAttention
from geoseg.training.averaging import fabric_alone

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray
    from torch import Tensor

    from geoseg.config import CoverLearningSettings
    from geoseg.landcover.attention import AttentionSpec
    from geoseg.landcover.cells import CellYears, Samples

__all__ = ["TaughtCover", "attention_shares", "teach_attention"]

_AT_ONCE = 8192  # cells


class TaughtCover(NamedTuple):
    """A network as it was after the step that told held-out parcels best."""

    network: TemporalAttention
    step: int
    loss: float  # cross-entropy of the held-out parcels
    accuracy: float  # share of their cells


def teach_attention(
    spec: AttentionSpec,
    teaching: Samples,
    held_out: Samples,
    settings: CoverLearningSettings,
    *,
    seed: int,
    device: torch.device,
    on_step: Callable[[int, int, str], None],
) -> TaughtCover:
    """Teach a network; each time a cell is seen, its means are drawn anew from what is known.

    A draw is `mean + s * sd * e` with normal e, and s of a cell from 0 to `settings.noise`: what
    the pivot is unsure of, the network does not learn by heart.

    Args:
        spec: of the network.
        teaching: cells to learn from.
        held_out: cells of other parcels, by whose loss the best step is kept.
        settings: the loop.
        seed: of weights, batches and draws.
        device: where.
        on_step: is told of steps done, of how many, and the loss.

    Raises:
        LabelError: nothing to learn from or nothing held out.
        ModelError: the loss is no longer a finite number.
    """
    if not len(teaching) or not len(held_out):
        raise LabelError(
            f"{len(teaching)} cells teach and {len(held_out)} are held out; label more parcels of "
            "each class."
        )
    torch.manual_seed(seed)
    network = TemporalAttention(spec)
    fabric = fabric_alone(device)
    optimizer = torch.optim.AdamW(
        network.parameters(), lr=settings.learning_rate, weight_decay=settings.weight_decay
    )
    wrapped, optimizer = fabric.setup(network, optimizer)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, settings.learning_rate, total_steps=settings.steps
    )
    rng = np.random.default_rng(seed)
    best: TaughtCover | None = None
    for step in range(1, settings.steps + 1):
        network.train()
        batch = teaching.take(rng.integers(0, len(teaching), settings.batch))
        loss = cross_entropy(
            wrapped(*_drawn(batch.years, settings.noise, device)),
            torch.from_numpy(batch.label).to(device),
        )
        optimizer.zero_grad()
        fabric.backward(loss)
        optimizer.step()
        schedule.step()
        if step % settings.validate_every == 0 or step == settings.steps:
            found = _validated(network, held_out, step)
            if not np.isfinite(found.loss):
                raise ModelError(f"The loss is {found.loss} at step {step}; lower learning_rate.")
            best = found if best is None or found.loss < best.loss else best
            on_step(step, settings.steps, f"held-out loss {found.loss:.3f}")
    assert best is not None  # the last step validates
    return best


def attention_shares(network: TemporalAttention, years: CellYears) -> NDArray[np.float64]:
    """Probability (N, K) of each class, on the device of the network.

    Raises:
        ModelError: cells of other variables than the network was taught on.
    """
    if years.variables != network.spec.variables:
        raise ModelError(
            f"The network was taught on {', '.join(network.spec.variables)} and the pivot has "
            f"{', '.join(years.variables)}; make it of the same variables."
        )
    device = network.query.device
    network.eval()
    found = []
    with torch.no_grad():
        for begin in range(0, len(years), _AT_ONCE):
            part = years.take(slice(begin, begin + _AT_ONCE))
            tensors = (part.mean, part.sd, part.validity, part.day_of_year)
            logits = network(*(one.to(device) for one in tensors))
            found.append(logits.double().softmax(dim=-1).cpu().numpy())
    return np.concatenate(found)


def _drawn(
    years: CellYears, noise: float, device: torch.device
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    share = noise * torch.rand(len(years), 1, 1)
    mean = years.mean + share * years.sd * torch.randn_like(years.sd)
    return (
        mean.to(device),
        years.sd.to(device),
        years.validity.to(device),
        years.day_of_year.to(device),
    )


def _validated(network: TemporalAttention, held_out: Samples, step: int) -> TaughtCover:
    share = attention_shares(network, held_out.years)
    told = share[np.arange(len(held_out)), held_out.label]
    return TaughtCover(
        network=copy.deepcopy(network),
        step=step,
        loss=float(-np.log(told).mean()),
        accuracy=float((share.argmax(axis=1) == held_out.label).mean()),
    )
