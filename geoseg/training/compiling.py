"""Whether torch can compile networks here."""

from __future__ import annotations

from functools import cache

import torch
import torch.nn.functional as F
from torch import Tensor, nn

__all__ = ["compile_problem"]


@cache
def compile_problem(device: torch.device) -> str | None:
    """One sentence on why nothing can be compiled for a device; None where it can.

    A small network is compiled and taken a step with, which takes seconds: what is missing, such
    as a compiler of C++, shows only then.
    """
    try:
        with torch.random.fork_rng(devices=[]):
            small = _Small().to(device)
            small.compile()
            small(torch.ones(1, 1, 4, 4, device=device)).sum().backward()
    except Exception as error:  # noqa: BLE001  of any compiler
        told = str(error).strip().splitlines()[0].rstrip(".")
        return (
            f"training.compile: torch cannot compile for {device} here ({type(error).__name__}: "
            f"{told}); the network is trained as it is."
        )
    return None


class _Small(nn.Module):
    """A class of its own and with an activation: of what torch has ready nothing is compiled."""

    def __init__(self) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(1, 1, 3)

    def forward(self, image: Tensor) -> Tensor:
        return F.gelu(self.convolution(image))
