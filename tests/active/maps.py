"""Maps of probabilities and uncertainty as `geoseg predict` writes them, of known numbers."""

import numpy as np
import rasterio
from rasterio.transform import from_origin

from geoseg.inference.maps import PROBABILITY_STEPS, as_stored

CRS = "EPSG:32645"
LEFT, TOP = 500_000.0, 3_100_000.0
PIXEL_M = (30.0, 20.0)  # not square: a swapped axis is seen


def write_shares(path, shares, names, *, valid=None, crs=CRS, pixel=PIXEL_M, **extra):
    """Write shares (B, H, W) in bytes, 255 where not valid (H, W)."""
    stored = as_stored(shares)
    if valid is not None:
        stored = np.where(valid, stored, 255).astype(np.uint8)
    count, height, width = stored.shape
    profile = {"dtype": "uint8", "crs": crs, "transform": from_origin(LEFT, TOP, *pixel), **extra}
    shape = {"height": height, "width": width, "count": count}
    with rasterio.open(path, "w", driver="GTiff", nodata=255, **shape, **profile) as raster:
        raster.write(stored.astype(profile["dtype"]))
        raster.scales = [1 / PROBABILITY_STEPS] * count
        for index, name in enumerate(names, start=1):
            raster.set_band_description(index, name)
    return path


def three_kinds(height=64, width=96):
    """Probabilities (3, H, W) of ground, ice and lake.

    Ice and ground are a toss-up in the north west, a lake lies in the south east, and all else is
    ground for sure.
    """
    shares = np.zeros((3, height, width), dtype=np.float32)
    shares[0] = 1
    shares[:2, : height // 2, : width // 2] = 0.5
    shares[:, -height // 4 :, -width // 4 :] = np.array([0, 0, 1], np.float32)[:, None, None]
    return shares
