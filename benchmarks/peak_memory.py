"""The most memory that a process has held, for the benchmarks that tell of it."""

from __future__ import annotations

from pathlib import Path


def peak_bytes(pid: int | str = "self") -> int:
    """Highest resident memory (VmHWM) of a process of this machine; 0 when it is gone.

    Not ru_maxrss, which a process has from the one that started it.
    """
    try:
        status = Path(f"/proc/{pid}/status").read_text(encoding="ascii", errors="replace")
    except OSError:
        return 0
    lines = (line for line in status.splitlines() if line.startswith("VmHWM:"))
    return next((int(line.split()[1]) * 1024 for line in lines), 0)
