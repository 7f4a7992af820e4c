"""How much memory a piece of work took."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch

__all__ = ["PeakMemory"]

_RESET = Path("/proc/self/clear_refs")
_STATUS = Path("/proc/self/status")


@dataclass(frozen=True, slots=True)
class PeakMemory:
    """The most memory held since a beginning: of a GPU, or else of the process."""

    device: torch.device

    @classmethod
    def begin(cls, device: torch.device) -> PeakMemory:
        """Forget earlier peaks."""
        if device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(device)
        elif _RESET.exists():
            _RESET.write_text("5")
        return cls(device)

    def peak_mb(self) -> float:
        """In 10^6 bytes; NaN where the system does not say."""
        if self.device.type == "cuda":
            return torch.cuda.max_memory_allocated(self.device) / 1e6
        if not _STATUS.exists():
            return float("nan")
        lines = _STATUS.read_text().splitlines()
        kib = next((line.split()[1] for line in lines if line.startswith("VmHWM")), "nan")
        return float(kib) * 1024 / 1e6
