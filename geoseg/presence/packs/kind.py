"""What images of one kind share, and what is usual in them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np

from geoseg.errors import ConfigError
from geoseg.sensors import find_sensor

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from geoseg.sensors import Band

__all__ = ["PALETTE_PX", "ImageKind", "PixelSample", "round_gsd"]

PALETTE_PX = 512
_GSD_DIGITS = 3
_DRAWN_PX = 8  # of an image; neighbours look alike, so that more images tell more


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageKind:
    """What a file of pixels does not say of itself; hashable, so that images are grouped by it."""

    sensor_id: str
    bands: tuple[str, ...]  # common names, in the order of the channels
    gsd_m: float
    nodata: float | None = None  # a finite stored value that means that nothing was measured
    scale: float = 1.0  # pixel = stored * scale

    def __post_init__(self) -> None:
        self.measured()
        # NaN and infinity are never valid in any case, and NaN is not even equal to itself.
        if self.nodata is not None and not math.isfinite(self.nodata):
            object.__setattr__(self, "nodata", None)
        if not self.bands:
            raise ConfigError(f"Images of {self.sensor_id} have no band; name them with --bands.")
        for name in ("gsd_m", "scale"):
            number = getattr(self, name)
            if not (math.isfinite(number) and number > 0):
                raise ConfigError(
                    f"Images of {self.sensor_id} have {name} = {number}; give a positive number."
                )

    def measured(self) -> tuple[Band, ...]:
        """What each channel measures.

        Raises:
            SensorError: no such sensor, or a band that it has not.
        """
        sensor = find_sensor(self.sensor_id)
        return tuple(sensor.band(name) for name in self.bands)

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "sensor": self.sensor_id,
            "bands": list(self.bands),
            "gsd_m": self.gsd_m,
            "nodata": self.nodata,
            "scale": self.scale,
        }

    @classmethod
    def of(cls, entry: Mapping[str, Any]) -> ImageKind:
        """From what `as_dict` gave; nodata and scale may be missing."""
        nodata, scale = entry.get("nodata"), entry.get("scale")
        return _kind(
            str(entry["sensor"]),
            tuple(entry["bands"]),
            float(entry["gsd_m"]),
            None if nodata is None else float(nodata),
            1.0 if scale is None else float(scale),
        )


# Millions of images say the same of themselves.
@lru_cache(maxsize=1024)
def _kind(
    sensor_id: str, bands: tuple[str, ...], gsd_m: float, nodata: float | None, scale: float
) -> ImageKind:
    return ImageKind(sensor_id=sensor_id, bands=bands, gsd_m=gsd_m, nodata=nodata, scale=scale)


def round_gsd(gsd_m: float) -> float:
    """A ground sampling distance, m, as images of one kind share it.

    That of a georeference in degrees differs a little from one chip to the next.
    """
    return float(f"{gsd_m:.{_GSD_DIGITS}g}")


class PixelSample:
    """At most 512 pixels of many images, every pixel drawn with the same chance.

    Each pixel gets a random rank and the lowest ranks are kept, so that the sample of two sets of
    images together is made from the samples of both.
    """

    def __init__(self, bands: int) -> None:
        self.ranks: NDArray[np.float64] = np.empty(0)
        self.pixels: NDArray[np.float32] = np.empty((bands, 0), dtype=np.float32)

    def draw(
        self, image: NDArray[np.float32], valid: NDArray[np.bool_], rng: np.random.Generator
    ) -> None:
        """Draw from one image (C, H, W), only where it is valid (H, W)."""
        where = rng.integers(0, valid.size, _DRAWN_PX)
        where = where[valid.reshape(-1)[where]]
        self.add(rng.random(len(where)), image.reshape(len(image), -1)[:, where])

    def add(self, ranks: NDArray[np.float64], pixels: NDArray[np.float32]) -> None:
        """Add pixels (C, n) of these ranks (n,)."""
        self.ranks = np.concatenate([self.ranks, ranks])
        self.pixels = np.concatenate([self.pixels, pixels], axis=1)
        if len(self.ranks) > 8 * PALETTE_PX:
            self._trim()

    def lowest(self, count: int) -> tuple[NDArray[np.float64], NDArray[np.float32]]:
        """Ranks (n,) and pixels (C, n) of the lowest ranks."""
        self._trim()
        return self.ranks[:count], self.pixels[:, :count]

    def palette(self) -> NDArray[np.float32]:
        """The sample (C, P), P up to 512; one column of NaN where no pixel was valid."""
        self._trim()
        if not len(self.ranks):
            return np.full((len(self.pixels), 1), np.nan, dtype=np.float32)
        return self.pixels

    def _trim(self) -> None:
        lowest = np.argsort(self.ranks, kind="stable")[:PALETTE_PX]
        self.ranks, self.pixels = self.ranks[lowest], self.pixels[:, lowest]
