"""A scene: one acquisition of one place by one sensor."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from geoseg.errors import SceneError, nearest

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime
    from pathlib import Path

__all__ = ["Asset", "Scene", "SunPosition"]


@dataclass(frozen=True, slots=True, kw_only=True)
class SunPosition:
    """Where the sun stood at the middle of a scene, in degrees.

    **Convention:** azimuth 90, elevation 30: in the east, a third of the way up to the zenith.
    """

    azimuth: float  # clockwise from true north, 0 to 360
    elevation: float  # above the horizon, -90 to 90

    def __post_init__(self) -> None:
        if not 0 <= self.azimuth <= 360:
            raise SceneError(
                f"A sun at azimuth {self.azimuth} is nowhere; give 0 to 360 degrees clockwise from "
                "north."
            )
        if not -90 <= self.elevation <= 90:
            raise SceneError(
                f"A sun at elevation {self.elevation} is nowhere; give -90 to 90 degrees above the "
                "horizon."
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class Asset:
    """One band of one raster file."""

    path: Path
    index: int = 1  # counted from 1, as GDAL does
    nodata: float | None = None  # overrides what the file says of itself
    sha256: str | None = None  # of the whole file, where it is known


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """One acquisition: which sensor, when, and where each band lies.

    The acquisition interval is half-open and in UTC. Film is often dated only to a mission, so the
    interval may span weeks.
    """

    id: str
    sensor_id: str
    start: datetime
    end: datetime
    bands: Mapping[str, Asset]  # common name of the band -> where it lies
    mask: Asset | None = None  # 0 where the scene must not be used (cloud, film border)
    dem: Path | None = None  # elevation in metres on any grid; adds the terrain bands
    sun: SunPosition | None = None  # where it is known
    cloud_percent: float | None = None  # of the scene, as its provider says
    metadata: Path | None = None  # what the provider wrote of it: MTL, MTD or DIM
    quality: Asset | None = None  # codes of its pixels by the provider: QA_PIXEL, SCL

    def __post_init__(self) -> None:
        if not self.bands:
            raise SceneError(f"Scene {self.id!r} has no band; name at least one.")
        if self.start.tzinfo is None or self.end.tzinfo is None:
            raise SceneError(f"Scene {self.id!r} has a time without a zone; give it in UTC.")
        if self.end <= self.start:
            raise SceneError(f"Scene {self.id!r} ends at {self.end}, not after {self.start}.")
        if self.cloud_percent is not None and not 0 <= self.cloud_percent <= 100:
            raise SceneError(
                f"Scene {self.id!r} has cloud_percent = {self.cloud_percent}; give 0 to 100."
            )

    def asset(self, band: str) -> Asset:
        """Where a band lies.

        Raises:
            SceneError: the scene has no such band.
        """
        if band not in self.bands:
            raise SceneError(f"no band {band!r} in scene {self.id}. {nearest(band, self.bands)}")
        return self.bands[band]


def with_absolute_paths(scene: Scene) -> Scene:
    """The same scene for a process that stands elsewhere."""

    def placed(asset: Asset | None) -> Asset | None:
        return None if asset is None else replace(asset, path=asset.path.absolute())

    return replace(
        scene,
        bands={name: replace(a, path=a.path.absolute()) for name, a in scene.bands.items()},
        mask=placed(scene.mask),
        quality=placed(scene.quality),
        dem=None if scene.dem is None else scene.dem.absolute(),
        metadata=None if scene.metadata is None else scene.metadata.absolute(),
    )
