"""What readers of Parquet stumble over."""

from __future__ import annotations

import pyarrow as pa

__all__ = ["DAMAGED"]

# Of a file that is none, is cut short, or has a column whose name is no text.
DAMAGED = (pa.ArrowException, OSError, UnicodeDecodeError)
