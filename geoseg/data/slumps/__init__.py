"""Places that hold a thaw slump or not: windows of real images, and simulated series."""

from geoseg.data.slumps.simulate import REGIONS, SimulatedPlaces, simulated_places
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
    "REGIONS",
    "Fold",
    "SimulatedPlaces",
    "SlumpImage",
    "SlumpWindows",
    "WindowSpec",
    "cut_windows",
    "read_slump_images",
    "simulated_places",
]
