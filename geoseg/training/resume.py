"""The state of a training on disk, so that a killed one goes on where it stopped."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from geoseg.errors import ModelError
from geoseg.models import read_tensors, write_tensors

if TYPE_CHECKING:
    from pathlib import Path

    from torch.optim import Optimizer

__all__ = ["TrainingState", "restore_state", "save_state"]


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingState:
    """How far a training came."""

    fingerprint: str  # of recipe and data: a state of another training is not taken up
    step: int = 0  # steps done
    best_score: float = float("-inf")  # of all validations
    best_step: int = 0  # of the network that is kept
    kept_score: float = float("-inf")
    stale: int = 0  # validations since the best one


def save_state(
    path: Path, state: TrainingState, modules: dict[str, nn.Module], optimizer: Optimizer
) -> None:
    """Write modules, optimiser and counters, whole or not at all."""
    tensors: dict[str, Tensor] = {}
    for name, module in modules.items():
        tensors |= {f"{name}/{key}": value for key, value in module.state_dict().items()}
    for index, slots in optimizer.state_dict()["state"].items():
        tensors |= {f"optimizer/{index}/{key}": torch.as_tensor(v) for key, v in slots.items()}
    write_tensors(path, tensors, asdict(state))


def restore_state(
    path: Path, fresh: TrainingState, modules: dict[str, nn.Module], optimizer: Optimizer
) -> TrainingState:
    """Load modules and optimiser where a state of this training lies; else the fresh state."""
    if not path.exists():
        return fresh
    try:
        tensors, counters = read_tensors(path)
    except ModelError:
        return fresh
    if counters.get("fingerprint") != fresh.fingerprint:
        return fresh
    for name, module in modules.items():
        prefix = f"{name}/"
        module.load_state_dict(
            {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}
        )
    slots: dict[int, dict[str, Any]] = {}
    for key, value in tensors.items():
        if key.startswith("optimizer/"):
            _, index, slot = key.split("/")
            slots.setdefault(int(index), {})[slot] = value
    groups = optimizer.state_dict()["param_groups"]
    optimizer.load_state_dict({"state": slots, "param_groups": groups})
    return TrainingState(**counters)
