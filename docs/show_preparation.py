"""Makes docs/images/prepare-film.png: a simulated frame of Hexagon as scanned, and prepared.

python docs/show_preparation.py
"""

from __future__ import annotations

import math
import tempfile
import warnings
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import rasterio
from PIL import Image
from rasterio.control import GroundControlPoint
from rasterio.errors import NotGeoreferencedWarning

from geoseg.data.simulate import Sun, film, make_landscape, surface
from geoseg.data.simulate.scan import scan_of
from geoseg.scale import Engine
from geoseg.scenes import Asset, Scene
from geoseg.scenes.prepare import PrepareJob, PrepareSettings, prepare_scenes
from geoseg.sensors import find_sensor

SENSOR = "hexagon-kh9-mapping"
PIXEL_M, BORDER_PX, SHOWN_PX = 5.0, 90, 460
TURN = math.radians(12)  # of the flight, from north
PICTURE = Path(__file__).parent / "images" / "prepare-film.png"


def main() -> None:
    """Simulate, prepare, draw."""
    landscape = make_landscape(seed=4, size_m=6000.0)
    tones = film(
        landscape,
        surface(landscape, 2009),
        find_sensor(SENSOR),
        Sun(azimuth=140, elevation=60),
        np.random.default_rng(4),
    )
    # Fog, as film of that age has it: the darkest ground is lighter than the border.
    scan = scan_of(
        45 + 0.75 * tones,
        np.random.default_rng(4),
        border_px=BORDER_PX,
        skew=0.006,
        vignetting=0.5,
    )
    with tempfile.TemporaryDirectory() as folder:
        prepared = prepare(write_scan(Path(folder) / "frame.tif", scan.stored), Path(folder))
    beside(scan.stored, prepared).save(PICTURE, optimize=True)


def write_scan(path: Path, stored: np.ndarray) -> Path:
    """A scan with nine control points."""
    height, width = stored.shape
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        with rasterio.open(
            path, "w", driver="GTiff", height=height, width=width, count=1, dtype="uint8"
        ) as raster:
            raster.write(stored, 1)
            raster.gcps = (
                [
                    point(row, column)
                    for row in np.linspace(150, height - 150, 3)
                    for column in np.linspace(150, width - 150, 3)
                ],
                "EPSG:32627",
            )
    return path


def point(row: float, column: float) -> GroundControlPoint:
    """Where a pixel lies: the frame is turned by that of the flight."""
    right, down = column * PIXEL_M, row * PIXEL_M
    return GroundControlPoint(
        row=row,
        col=column,
        x=500_000 + right * math.cos(TURN) + down * math.sin(TURN),
        y=7_200_000 + right * math.sin(TURN) - down * math.cos(TURN),
    )


def prepare(path: Path, folder: Path) -> np.ndarray:
    """The prepared picture."""
    scene = Scene(
        id="frame",
        sensor_id=SENSOR,
        start=datetime(1980, 8, 22, tzinfo=UTC),
        end=datetime(1980, 8, 23, tzinfo=UTC),
        bands={"pan": Asset(path=path)},
    )
    out = folder / "out"
    job = PrepareJob(scene=scene, folder=out / "frame", settings=PrepareSettings(even_tones=True))
    prepare_scenes([job], out, engine=Engine(), on_ready=lambda _: None)
    with rasterio.open(out / "frame" / "pan.tif") as raster:
        return np.asarray(raster.read(1))


def beside(scan: np.ndarray, prepared: np.ndarray) -> Image.Image:
    """Both, at one height; what is not picture is light blue in the second."""
    colours = np.stack([prepared] * 3, axis=-1)
    colours[prepared == 0] = (206, 222, 235)
    both = [Image.fromarray(scan).convert("RGB"), Image.fromarray(colours)]
    both = [one.resize((SHOWN_PX * one.width // one.height, SHOWN_PX)) for one in both]
    page = Image.new("RGB", (sum(one.width for one in both) + 12, SHOWN_PX), "white")
    page.paste(both[0], (0, 0))
    page.paste(both[1], (both[0].width + 12, 0))
    return page.quantize(48)


if __name__ == "__main__":
    main()
