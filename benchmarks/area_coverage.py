"""How often the true area lies in the 90 % interval that an inventory gives, on simulated maps.

    python benchmarks/area_coverage.py [--json] [--full]

The truth is the simulated landscape at 5 m. A mapper of 10 to 30 m is imitated: it sees the border
of an object blurred, and draws it with three errors: a shift of the survey, one offset of the whole
border within half a pixel to either side, and noise that is alike along some pixels of the border.
A pixel is the object's when half of it is. Its probability is that of lying inside of the true
border, given the drawn one: calibrated by construction. Outlines are drawn as from any map.
Each cause of error is measured alone and all together; nothing is fitted to the outcome.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
from collections import defaultdict
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import geopandas as gpd
import numpy as np
import shapely
from odc.geo.geobox import GeoBox
from rasterio import Affine
from scipy.ndimage import distance_transform_edt, find_objects, gaussian_filter, label, shift, zoom
from scipy.special import ndtr

from geoseg.config import OutlineSettings
from geoseg.data.simulate import make_landscape, surface
from geoseg.inventory.attributes.uncertainty import (
    combined_uncertainty_km2,
    model_uncertainty_km2,
    pixel_uncertainty_km2,
    registration_uncertainty_km2,
)
from geoseg.labels import ClassScheme
from geoseg.vectorize import outline_classes

if TYPE_CHECKING:
    from collections.abc import Iterator

SCHEME = ClassScheme.of({"mapped": "#7fd0ee"})
FINE_M = 5.0
NORMAL_90 = 1.645
SMALLEST_KM2 = 0.01  # of an inventory, as of RGI 7
SMALLEST_TRUE_KM2 = 0.002  # of what may be drawn as large as that
PSF_PX = 0.5  # standard deviation: 1.2 pixels at half height
ROOM_M = 300.0  # about an object
SETTINGS = OutlineSettings(min_area_m2=0, min_hole_m2=0)
SQUARE_M = 1800.0  # side of the squares that glaciers are cut by, as by divides


@dataclass(frozen=True, kw_only=True)
class Mapper:
    """What a mapper errs by."""

    gsd_m: float
    offset_px: float = 0.0  # of a border as a whole, at most
    noise_px: float = 0.0  # standard deviation along the border
    alike_px: float = 32.0  # along which noise is alike: the integral of its correlation
    shift_px: float = 0.0  # standard deviation of the survey along either axis


def objects_of(classes: np.ndarray) -> Iterator[np.ndarray]:
    """Glaciers with their ponds, and lakes: True inside, in a box with room about them."""
    for chosen in ((1, 2, 3), (4, 6)):
        numbered, _ = label(np.isin(classes, chosen))
        for number, box in enumerate(find_objects(numbered), start=1):
            inside = numbered[box] == number
            if inside.sum() * FINE_M**2 / 1e6 >= SMALLEST_TRUE_KM2:
                yield np.pad(inside, round(ROOM_M / FINE_M))


def into_m(inside: np.ndarray) -> np.ndarray:
    """Distance to the border, below 0 outside."""
    within = np.where(inside, distance_transform_edt(inside) - 0.5, 0)
    return FINE_M * (within - np.where(inside, 0, distance_transform_edt(~inside) - 0.5))


def alike(shape: tuple[int, ...], length: float, rng: np.random.Generator) -> np.ndarray:
    """Standard normal noise, the correlation of which along a line has an integral of `length`."""
    # Noise smoothed by a Gaussian of width s has a correlation whose integral is 2 sqrt(pi) s.
    width = length / (2 * np.sqrt(np.pi))
    # Drawn coarsely, and further than the filter reaches: at an edge the noise would be another.
    step = max(1, int(width / 4))
    room = int(np.ceil(4 * width / step)) + 1
    coarse = rng.standard_normal([-(-side // step) + 1 + 2 * room for side in shape])
    smooth = gaussian_filter(coarse, width / step)[room:-room, room:-room]
    fine = zoom(smooth, step, order=1) if step > 1 else smooth
    return fine[: shape[0], : shape[1]] * 2 * np.sqrt(np.pi) * width / step


def seen_by(
    truth: np.ndarray, mapper: Mapper, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Share of each pixel that a mapper takes for the object, and how far inside it lies."""
    gsd = mapper.gsd_m
    block = round(gsd / FINE_M)
    # What the instrument blurs is not there to be displaced.
    seen = gaussian_filter(truth.astype(float), PSF_PX * block) > 0.5
    noise = alike(truth.shape, mapper.alike_px * block, rng) * mapper.noise_px * gsd
    offset = rng.uniform(-1, 1) * mapper.offset_px * gsd
    moved = rng.standard_normal(2) * mapper.shift_px * block
    drawn = shift(into_m(seen) + offset + noise, moved, order=1, mode="nearest")
    # A fine pixel at the border is inside in part: an offset of less than it counts too.
    share = np.clip(0.5 + drawn / FINE_M, 0, 1)
    height, width_px = (size // block for size in drawn.shape)
    share, within = (
        field[: height * block, : width_px * block]
        .reshape(height, block, width_px, block)
        .mean(axis=(1, 3))
        for field in (share, drawn)
    )
    return share, within


def chance(within_m: np.ndarray, mapper: Mapper) -> np.ndarray:
    """Probability of lying inside, given how far inside of the drawn border a pixel lies."""
    half, spread = mapper.offset_px * mapper.gsd_m, mapper.noise_px * mapper.gsd_m
    if spread == 0:
        return np.clip(0.5 + within_m / (2 * half), 0, 1) if half else (within_m > 0) * 1.0
    if half == 0:
        return ndtr(within_m / spread)

    def below(x: np.ndarray) -> np.ndarray:
        return x * ndtr(x / spread) + spread * np.exp(-((x / spread) ** 2) / 2) / np.sqrt(2 * np.pi)

    return (below(within_m + half) - below(within_m - half)) / (2 * half)


def mapped(truth: np.ndarray, mapper: Mapper, rng: np.random.Generator) -> dict[str, float]:
    """Error of the area of one object, and its uncertainties, in km2; NaN where it is too small."""
    share, within_m = seen_by(truth, mapper, rng)
    gsd = mapper.gsd_m
    grid = GeoBox(share.shape, Affine(gsd, 0, 455_000, 0, -gsd, 3_985_000), "EPSG:32643")
    outlines = outline_classes((share > 0.5).astype(np.uint8), grid, SCHEME, SETTINGS)
    area = outlines.area.sum() / 1e6
    if area < SMALLEST_KM2:
        return dict.fromkeys(("error", "pixel", "model", "all"), np.nan)
    p = chance(within_m[share > 0.5], mapper).mean()
    perimeter, extent = outlines.length.sum(), outlines.union_all().convex_hull.length / 2
    pixel = pixel_uncertainty_km2(perimeter, gsd_m=gsd, width_px=mapper.offset_px)
    model = model_uncertainty_km2(area, p, extent, pixel_unc_km2=pixel, gsd_m=gsd)
    return {
        "error": area - truth.sum() * FINE_M**2 / 1e6,
        "pixel": float(pixel),
        "model": float(model),
        "all": float(combined_uncertainty_km2(pixel, 0, model)),
    }


def shifted(classes: np.ndarray, shift_m: float, rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Errors of the areas of pieces of shifted glaciers between divides that stay."""
    grid = GeoBox(classes.shape, Affine(FINE_M, 0, 0, 0, -FINE_M, 0), "EPSG:32643")
    ice = np.isin(classes, (1, 2, 3)).astype(np.uint8)
    whole = outline_classes(ice, grid, SCHEME, SETTINGS)
    west, south, east, north = whole.total_bounds
    x, y = np.meshgrid(np.arange(west, east, SQUARE_M), np.arange(south, north, SQUARE_M))
    squares = shapely.box(x, y, x + SQUARE_M, y + SQUARE_M).ravel()
    moved = whole.translate(*(rng.standard_normal(2) * shift_m)).to_numpy()
    # One noded set of lines, so that neighbours have the same corners along a divide.
    pieces = _pieces(moved, squares)
    before = _pieces(whole.geometry.to_numpy(), squares)
    table = gpd.GeoDataFrame(geometry=pieces, crs="EPSG:32643")
    unc = registration_uncertainty_km2(table, shift_unc_m=shift_m)
    areas, true = shapely.area(pieces) / 1e6, shapely.area(before) / 1e6
    # A corner of a glacier in a square is gone with a small shift: no divide of an inventory is so.
    kept = (np.minimum(areas, true) >= 0.1) & (unc > 0)
    return {"error": (areas - true)[kept], "registration": unc[kept]}


def _pieces(ice: np.ndarray, squares: np.ndarray) -> np.ndarray:
    lines = shapely.union_all([*shapely.boundary(ice), *shapely.boundary(squares)])
    faces = shapely.get_parts(shapely.polygonize(shapely.get_parts(lines)))
    points = shapely.point_on_surface(faces)
    faces = faces[np.unique(shapely.STRtree(points).query(ice, predicate="contains")[1])]
    face, square = shapely.STRtree(squares).query(shapely.point_on_surface(faces), "within")
    found = np.full(len(squares), shapely.Polygon(), dtype=object)
    for number in np.unique(square):
        found[number] = shapely.coverage_union_all(faces[face[square == number]])
    return found


def measure_coverage(
    *,
    seeds: range = range(4),
    years: tuple[int, ...] = (1970, 2000, 2020),
    gsds_m: tuple[float, ...] = (10.0, 20.0, 30.0),
    noise_px: float = 0.5,
    alike_px: float = 32.0,
    size_m: float = 4800.0,
) -> dict[str, dict[str, float]]:
    """Share of areas within their 90 % interval, by cause and together, and how many there are.

    Args:
        seeds: landscapes, and what is random of their maps.
        years: of the landscape.
        gsds_m: pixels of the mapper, multiples of 5 m.
        noise_px: standard deviation of the noise along borders.
        alike_px: pixels of the border along which it is alike.
        size_m: side of the landscape.
    """
    found: dict[str, list[float]] = defaultdict(list)
    alone = {
        "pixel": {"offset_px": 0.5},
        "model": {"noise_px": noise_px, "alike_px": alike_px},
        "all": {
            "offset_px": 0.5,
            "noise_px": noise_px,
            "alike_px": alike_px,
            "shift_px": 0.5,
        },
    }
    for seed in seeds:
        landscape = make_landscape(seed=seed, size_m=size_m)
        rng = np.random.default_rng(seed)
        for year in years:
            classes = surface(landscape, year).classes
            for gsd in gsds_m:
                for cause, errors in alone.items():
                    mapper = replace(Mapper(gsd_m=gsd), **errors)
                    ones = [mapped(truth, mapper, rng) for truth in objects_of(classes)]
                    found[cause] += [one["error"] / one[cause] for one in ones]
                cut = shifted(classes, 0.5 * gsd, rng)
                found["registration"] += list(cut["error"] / cut["registration"])
    return {cause: _coverage(np.array(ratios)) for cause, ratios in found.items()}


def _coverage(ratio: np.ndarray) -> dict[str, float]:
    ratio = ratio[~np.isnan(ratio)]
    return {
        "areas": len(ratio),
        "covered": float((np.abs(ratio) <= NORMAL_90).mean()),
        "mean_ratio": float(ratio.mean()),
        "sd_ratio": float(ratio.std()),
    }


def main() -> None:
    """Measure, print a table, and with --json one object."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--full", action="store_true")
    options = parser.parse_args()
    seeds = range(24 if options.full else 3)
    figures = {}
    print("noise (px)  alike (px)  cause         areas  in 90 % interval  mean, sd of error by unc")
    for noise_px, alike_px in ((0.25, 32), (0.5, 32), (1, 32), (0.5, 8), (0.5, 128)):
        result = measure_coverage(seeds=seeds, noise_px=noise_px, alike_px=alike_px)
        for cause, told in result.items():
            print(
                f"{noise_px:10g}  {alike_px:10g}  {cause:12}  {told['areas']:5.0f}  "
                f"{told['covered']:16.1%}  {told['mean_ratio']:+.2f} {told['sd_ratio']:.2f}",
                flush=True,
            )
        figures[f"noise_{noise_px:g}_alike_{alike_px:g}"] = result
    if options.json:
        machine = f"{os.cpu_count()} cores {platform.machine()}, numpy {np.__version__}"
        print(json.dumps({"benchmark": "area_coverage", "machine": machine, "figures": figures}))


if __name__ == "__main__":
    main()
