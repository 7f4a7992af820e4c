"""Places that hold a thaw slump or not: windows of real images, and simulated series."""

from geoseg.data.slumps.windows import (
    FOLDS,
    Fold,
    SlumpImage,
    SlumpWindows,
    WindowSpec,
    cut_windows,
    read_slump_images,
)

__all__ = [
    "FOLDS",
    "Fold",
    "SlumpImage",
    "SlumpWindows",
    "WindowSpec",
    "cut_windows",
    "read_slump_images",
]
