"""Outlines that people drew, as a file for other programs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from geoseg.files import write_json

if TYPE_CHECKING:
    from pathlib import Path

    from geoseg.active.pool import Pool
    from geoseg.active.project import Project

__all__ = ["write_outlines"]


def write_outlines(path: Path, project: Project, pool: Pool) -> int:
    """Write the outlines of a project that stand, by number; how many there are.

    A GeoJSON FeatureCollection, but in pixels: a pack does not know where the corners of its images
    lie. x goes right and y down from the outer corner of the first pixel of the image. Each has
    number, item, lon and lat of the item (null where not known), image (number, from 0), class,
    annotator and time.

    Args:
        path: of the file; replaced when it exists.
        project: with outlines.
        pool: that knows where items lie.

    Raises:
        OutputError: it cannot be written.
    """
    outlines = project.outlines()
    rows = pool.positions([one.item for one in outlines])
    features = [
        {
            "type": "Feature",
            "geometry": one.geometry,
            "properties": {
                "number": one.number,
                "item": one.item,
                "lon": float(pool.lon[row]) if row >= 0 else None,
                "lat": float(pool.lat[row]) if row >= 0 else None,
                "image": one.image,
                "class": one.class_,
                "annotator": one.annotator,
                "time": one.time,
            },
        }
        for one, row in zip(outlines, rows, strict=True)
    ]
    write_json(path, {"type": "FeatureCollection", "unit": "pixels", "features": features})
    return len(outlines)
