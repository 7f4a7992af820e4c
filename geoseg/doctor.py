"""What is installed, and whether it fits together."""

from __future__ import annotations

import os
import platform
import shutil
from importlib.metadata import version
from typing import TYPE_CHECKING

import rasterio
import torch

from geoseg import __version__
from geoseg.models import inspect_pair

if TYPE_CHECKING:
    from geoseg.models import TorchPair

__all__ = ["examine"]


def examine() -> dict[str, str]:
    """Findings by topic, each a short sentence."""
    packages = ("segmentation-models-pytorch", "timm", "kornia", "rasterio", "geopandas", "shapely")
    return {
        "geoseg": __version__,
        "python": f"{platform.python_version()} on {platform.system()} {platform.machine()}",
        "torch": _torch(inspect_pair()),
        "device": _device(),
        "threads": str(torch.get_num_threads()),
        "gdal": rasterio.__gdal_version__,
        **{name: version(name) for name in packages},
        "data mirror": os.environ.get("GEOSEG_DATA_MIRROR", "none (GEOSEG_DATA_MIRROR is not set)"),
        "qgis": shutil.which("qgis") or "not on the path (only needed to look at results)",
    }


def _torch(pair: TorchPair) -> str:
    build = "CPU" if torch.version.cuda is None else f"CUDA {torch.version.cuda}"
    if pair.torchvision is None:
        return f"{pair.torch} ({build}), no torchvision: install it, timm imports it"
    if pair.matching:
        return f"{pair.torch} ({build}) with its matching torchvision {pair.torchvision}"
    return (
        f"{pair.torch} ({build}) beside torchvision {pair.torchvision}, built for another torch: "
        "worked around, all of geoseg runs"
    )


def _device() -> str:
    if torch.cuda.is_available():
        return f"cuda: {torch.cuda.get_device_name()}"
    return "cpu (no CUDA device)"
