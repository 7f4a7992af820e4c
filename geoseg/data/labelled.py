"""A scene with the outlines that belong to it."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from geoseg.errors import LabelError
from geoseg.files import sha256_of
from geoseg.labels import (
    GLACIER,
    GLACIER_SURFACE,
    ClassScheme,
    Dating,
    place_labels,
    read_frames,
    read_outlines,
)
from geoseg.scenes import Asset, Scene, read_scene

if TYPE_CHECKING:
    from pathlib import Path

    import geopandas as gpd
    from odc.geo.geobox import GeoBox

    from geoseg.labels import Labels

__all__ = [
    "LabelledScene",
    "fingerprint_of",
    "labelled_everest",
    "labelled_series",
    "labelled_simulated",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelledScene:
    """A scene and where its outlines lie; without outlines it can be mapped, not learned from."""

    scene: Scene
    outlines: Path | None
    layer: str | None
    class_of: str  # the column with the class of each outline, or the class of all of them
    scheme: ClassScheme
    inside: str | None = None  # the layer that frames where all was outlined; everywhere if None
    learned: bool = True  # False: only ever scored, as the film of a series of scenes is
    date_of: str | None = None  # the column with the day of each outline; that of the scene if None
    within_years: float = 2.0  # how far from the scene outlines may be that serve it
    moved_m_per_year: float = 20.0  # how far an edge may have moved on the ground

    def read_outlines(self) -> gpd.GeoDataFrame:
        """The outlines, of all days, in the CRS of their file.

        Raises:
            LabelError: there are none, or they cannot be read.
        """
        if self.outlines is None:
            raise LabelError(f"scene {self.scene.id} has no outlines; name them under `labels`.")
        return read_outlines(
            self.outlines,
            self.scheme,
            layer=self.layer,
            class_of=self.class_of,
            date_of=self.date_of,
            least=0 if self.inside else 1,
        )

    def read_frames(self) -> gpd.GeoSeries | None:
        """Where all was outlined, in the CRS of the file; None where that is everywhere.

        Raises:
            LabelError: no such layer, or nobody has outlined anything yet.
            GridError: the layer has no coordinate reference system.
        """
        if self.inside is None or self.outlines is None:
            return None
        return read_frames(self.outlines, self.inside)

    @property
    def dating(self) -> Dating:
        """Which outlines show the time of the scene."""
        return Dating(
            start=self.scene.start,
            end=self.scene.end,
            within_years=self.within_years,
            moved_m_per_year=self.moved_m_per_year,
        )

    def labels_on(self, grid: GeoBox, *, margin_m: float) -> Labels:
        """The outlines that show the time of the scene, ready to be burnt.

        Args:
            grid: of the scene, or of a part of its ground.
            margin_m: how far the true edge may lie from the drawn one; more for another year.

        Raises:
            LabelError: there are none on this ground or of this time, or they cannot be read.
            GridError: a margin in metres on a grid in another unit.
        """
        return place_labels(
            self.read_outlines(),
            grid,
            self.scheme,
            margin_m=margin_m,
            dating=self.dating,
            frames=self.read_frames(),
        )

    def fingerprint(self) -> str:
        """Twelve hexadecimal digits that change with any byte of the images or the outlines."""
        return fingerprint_of(self.scene, self.outlines)


def fingerprint_of(scene: Scene, outlines: Path | None = None) -> str:
    """Twelve hexadecimal digits that change with any byte of a scene or of its outlines."""
    assets = [*scene.bands.values(), scene.mask]
    files = {asset.path for asset in assets if asset is not None}
    files |= {path for path in (outlines, scene.dem) if path is not None}
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


def labelled_series(folder: Path) -> tuple[LabelledScene, ...]:
    """All optical scenes of a simulated landscape, oldest first; the film is not learned from."""
    days = {
        "hexagon-kh9-mapping_19750812": 1975,
        "landsat-5_19900820": 1990,
        "landsat-5_20090824": 2009,
        "sentinel-2_20160817": 2016,
        "sentinel-2_20250815": 2025,
    }
    return tuple(
        LabelledScene(
            scene=read_scene(folder / "scenes" / f"{name}.json"),
            outlines=folder / "outlines.gpkg",
            layer=f"outlines_{year}",
            class_of="class_name",
            scheme=GLACIER_SURFACE,
            learned=not name.startswith("hexagon"),
        )
        for name, year in days.items()
    )
