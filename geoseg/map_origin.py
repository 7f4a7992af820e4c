"""What a map says of itself: which scene it is of, and what its classes are."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from geoseg.errors import SceneError
from geoseg.labels import ClassScheme
from geoseg.scenes import open_raster

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from rasterio.io import DatasetReader

    from geoseg.scenes import Scene

__all__ = ["MapOrigin", "origin_tags", "read_origin"]


@dataclass(frozen=True, slots=True, kw_only=True)
class MapOrigin:
    """Which scene was mapped, when it was acquired (half-open, UTC), and with which classes."""

    id: str
    sensor_id: str
    start: datetime
    end: datetime
    scheme: ClassScheme
    tags: Mapping[str, str]  # all that the map says of its making


def origin_tags(scene: Scene) -> dict[str, str]:
    """What a map keeps of its scene."""
    return {
        "scene": scene.id,
        "sensor": scene.sensor_id,
        "start": scene.start.isoformat(),
        "end": scene.end.isoformat(),
    }


def read_origin(classes: Path) -> MapOrigin:
    """What a class map says of itself.

    Raises:
        SceneError: it cannot be read, or is no map of `predict_scene` or `mosaic_maps`.
    """
    with open_raster(classes) as raster:
        tags = raster.tags()
        try:
            return MapOrigin(
                id=tags["scene"],
                sensor_id=tags["sensor"],
                start=datetime.fromisoformat(tags["start"]),
                end=datetime.fromisoformat(tags["end"]),
                scheme=_scheme(raster),
                tags=tags,
            )
        except (KeyError, ValueError) as error:
            raise SceneError(
                f"{classes} does not say what it is a map of ({error}); give a folder that "
                "`geoseg predict` or `geoseg mosaic` wrote."
            ) from error


def _scheme(raster: DatasetReader) -> ClassScheme:
    """The classes by their names and colours; the first is the ground."""
    colours = raster.colormap(1)
    names = raster.tags()["CLASSES"].split(",")
    return ClassScheme.of(
        {
            name: "#{:02x}{:02x}{:02x}".format(*colours[number][:3])
            for number, name in enumerate(names)
            if number > 0
        }
    )
