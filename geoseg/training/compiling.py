"""Whether torch can compile networks here."""

from __future__ import annotations

from functools import cache

import torch
from torch import nn

__all__ = ["compile_problem"]


@cache
def compile_problem(device: torch.device) -> str | None:
    """One sentence on why nothing can be compiled for a device; None where it can.

    A small layer is compiled and taken a step with, which takes seconds: what is missing, such as
    a compiler of C++, shows only then.
    """
    layer = nn.Conv2d(1, 1, 3).to(device)
    layer.compile()
    try:
        with torch.random.fork_rng(devices=[]):
            layer(torch.ones(1, 1, 4, 4, device=device)).sum().backward()
    except Exception as error:  # noqa: BLE001  of any compiler
        told = str(error).strip().splitlines()[0].rstrip(".")
        return (
            f"training.compile: torch cannot compile for {device} here ({type(error).__name__}: "
            f"{told}); the network is trained as it is."
        )
    return None
