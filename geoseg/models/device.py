"""Where a network computes."""

from __future__ import annotations

import torch

from geoseg.errors import ConfigError

__all__ = ["choose_device"]


def choose_device(name: str) -> torch.device:
    """The device of this name; for `auto` a GPU where there is one, else the CPU.

    Raises:
        ConfigError: no such device on this machine.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(name)
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0].rstrip(".")
        raise ConfigError(f"device {name!r} cannot be used ({reason}); try cpu or auto.") from error
    return device
