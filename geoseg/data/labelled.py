"""A scene with the outlines that belong to it."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from geoseg.files import sha256_of
from geoseg.labels import GLACIER, GLACIER_SURFACE, ClassScheme
from geoseg.scenes import Asset, Scene, read_scene

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["LabelledScene", "labelled_everest", "labelled_simulated"]


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelledScene:
    """A scene and where its outlines lie; without outlines it can be mapped, not learned from."""

    scene: Scene
    outlines: Path | None
    layer: str | None
    class_of: str  # the column with the class of each outline, or the class of all of them
    scheme: ClassScheme

    def fingerprint(self) -> str:
        """Twelve hexadecimal digits that change with any byte of the images or the outlines."""
        assets = [*self.scene.bands.values(), self.scene.mask]
        files = {asset.path for asset in assets if asset is not None}
        if self.outlines is not None:
            files.add(self.outlines)
        hashes = sorted(sha256_of(path) for path in files)
        return hashlib.sha256("".join(hashes).encode()).hexdigest()[:12]


def labelled_everest(folder: Path) -> LabelledScene:
    """Everest by Landsat 7, with the outlines of RGI 6.0, which hold the debris-covered tongues."""
    colours = folder / "LE71400412000304SGS00_RGB.tif"
    bands = {
        name: Asset(path=colours, index=index)
        for index, name in enumerate(("red", "green", "blue"), start=1)
    }
    bands["nir08"] = Asset(path=folder / "LE71400412000304SGS00_B4.tif")
    return LabelledScene(
        scene=Scene(
            id="LE71400412000304SGS00",
            sensor_id="landsat-7",
            start=datetime(2000, 10, 30, tzinfo=UTC),
            end=datetime(2000, 10, 31, tzinfo=UTC),
            bands=bands,
        ),
        outlines=folder / "15_rgi60_glacier_outlines.gpkg",
        layer=None,
        class_of="glacier",
        scheme=GLACIER,
    )


def labelled_simulated(folder: Path) -> LabelledScene:
    """The newest Sentinel-2 scene of a simulated landscape, with its true outlines."""
    return LabelledScene(
        scene=read_scene(folder / "scenes" / "sentinel-2_20250815.json"),
        outlines=folder / "outlines.gpkg",
        layer="outlines_2025",
        class_of="class_name",
        scheme=GLACIER_SURFACE,
    )
