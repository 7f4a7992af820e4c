"""Maps of one place at many dates, each made consistent with the others."""

from __future__ import annotations

import math
from contextlib import ExitStack
from typing import TYPE_CHECKING, Protocol

import numpy as np
import rasterio
from affine import Affine
from odc.geo.geobox import GeoBox
from rasterio.windows import Window

from geoseg.errors import ConfigError, GridError, SceneError
from geoseg.files import write_checksums
from geoseg.grids import crs_of, describe_grid, gsd_m, raster_grid, same_crs, same_grid
from geoseg.inference import Prediction, read_origin
from geoseg.inference.job import JOB_TAG
from geoseg.inference.maps import PROBABILITY_STEPS, as_stored
from geoseg.inventory.consistency.survey_maps import (
    MapOfSurvey,
    Smoothed,
    filled_path,
    open_consistent,
    open_survey,
)
from geoseg.inventory.consistency.transitions import (
    evidence_of_chances,
    evidence_of_classes,
    smooth_classes,
    transitions_of,
)
from geoseg.labels import IGNORE
from geoseg.scenes import Shift, open_raster, reading
from geoseg.scenes.cog import BLOCK_PX

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from geoseg.inference import MapOrigin
    from geoseg.inventory.consistency.survey_maps import Pixels
    from geoseg.inventory.consistency.transitions import Transitions
    from geoseg.labels import ClassScheme

__all__ = ["GSD_TAG", "MapOfSurvey", "filled_path", "moved_back_by", "write_consistent"]

GSD_TAG = "gsd_m"  # pixel that a map was made at
_SHIFT_TAGS = ("moved_back_x_m", "moved_back_y_m", "moved_back_unc_m")
_VALUES = 2**22  # of evidence at once: 16 MB, and some times that while it is smoothed
_CACHE_BYTES = 64 * 2**20
# What a date says itself stands unless the others refute it. A margin that retreats is a little
# doubtful at each date, and all dates together would see it retreat too late.
_BEYOND_DOUBT = 0.9
_SAMPLE_PX = 512  # the side to which a map is thinned to see how common its classes are
_ALIGNED_PX = 0.01  # coordinates written by different programs differ by rounding


class OnStrip(Protocol):
    """Is told of every strip."""

    def __call__(self, done: int, total: int, /) -> None:
        """Take the number of strips done and of all strips."""


def write_consistent(
    maps: Sequence[MapOfSurvey],
    out: Sequence[Prediction],
    *,
    rules: Transitions | None = None,
    grid: GeoBox | None = None,
    on_strip: OnStrip | None = None,
) -> list[Prediction]:
    """Maps of the same dates on one grid, in which ground changes as ground does.

    Each pixel takes the class that is most probable given what all surveys saw there and the years
    between them. What a survey did not see is filled from the others and marked in `filled_path`;
    255 stays where no survey saw anything. Memory does not grow with the ground. Uncertainties are
    not written: those of one date do not hold for what several say.

    Args:
        maps: all of the same classes, in any order, on any grids.
        out: where each of them goes, in a folder of its own; the probabilities unless None.
        rules: how classes follow each other; those of `transitions_of` when None, with classes as
            common as on the maps.
        grid: of all results; the pixels of the finest map, on the ground of all maps, when None.
        on_strip: is told of every strip.

    Returns:
        What was written.

    Raises:
        ConfigError: no maps, not as many outputs, one in the folder of another map, or rules for
            other classes.
        SceneError: a map cannot be read, or they have different classes.
        GridError: no grid is given and the maps have different reference systems.
        OutputError: a result cannot be written.
    """
    _refuse_folders(maps, out)
    origins = [read_origin(one.prediction.classes) for one in maps]
    scheme = _common_scheme(maps, origins)
    grids = [_checked_grid(one, scheme) for one in maps]
    grid = _common_grid(grids) if grid is None else grid
    if rules is None:
        rules = transitions_of(scheme, _shares(maps, scheme))
    if len(rules.prior) != len(scheme.classes):
        raise ConfigError(
            f"The rules are of {len(rules.prior)} classes and the maps of {len(scheme.classes)}; "
            "give rules of the classes of the maps, such as transitions_of makes."
        )
    order = sorted(range(len(maps)), key=lambda i: maps[i].year)
    years = np.array([maps[i].year for i in order])
    with rasterio.Env(GDAL_CACHEMAX=_CACHE_BYTES), ExitStack() as stack:
        # Entered first, and so the last to appear: where a class map is, all of its survey is.
        writers = [
            stack.enter_context(
                open_consistent(out[i], grid, scheme, _tags(maps[i], origins[i], grids[i]))
            )
            for i in order
        ]
        readers = [stack.enter_context(open_survey(maps[i], grids[i], grid)) for i in order]
        strips = range(0, grid.shape.y, BLOCK_PX)
        for done, top in enumerate(strips, start=1):
            for window in _blocks(grid, top):
                pixels = [reader.read(window, len(scheme.classes)) for reader in readers]
                for writer, one in zip(writers, _smoothed(pixels, years, rules), strict=True):
                    writer.write(one, window)
            if on_strip is not None:
                on_strip(done, len(strips))
    written = [Prediction(classes=one.classes, probability=one.probability) for one in out]
    for prediction in written:
        write_checksums([*prediction.paths, filled_path(prediction)])
    return written


def _smoothed(
    pixels: Sequence[Pixels], years: NDArray[np.float64], rules: Transitions
) -> list[Smoothed]:
    """All dates of a block, some rows at once."""
    count = len(rules.prior)
    known = np.stack([one.classes != IGNORE for one in pixels])
    seen = np.asarray(known.any(axis=0))
    dates, height, width = known.shape
    out = [
        Smoothed(
            np.full((height, width), IGNORE, dtype=np.uint8),
            np.full((count, height, width), IGNORE, dtype=np.uint8),
            (~own).astype(np.uint8),
        )
        for own in known
    ]
    if not seen.any():
        return out
    step = max(1, _VALUES // (dates * count * width))
    for top in range(0, height, step):
        rows = slice(top, top + step)
        evidence = np.stack([_evidence(one, rows, rules) for one in pixels])
        found = smooth_classes(evidence, years, rules)
        for one, own, chance in zip(out, pixels, found, strict=True):
            classes, stored = _overruled(own, rows, chance)
            one.classes[rows] = np.where(seen[rows], classes, IGNORE)
            one.stored[:, rows] = np.where(seen[rows], stored, IGNORE)
    return out


def _overruled(
    own: Pixels, rows: slice, chance: NDArray[np.float32]
) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Classes (H, W) and stored probabilities (K, H, W): the date's own where it is not refuted."""
    best, together = chance.argmax(axis=0).astype(np.uint8), as_stored(chance)
    if own.stored is None:  # and so does not say how sure it is of what
        return best, together
    said = own.classes[rows]
    kept = (said != IGNORE) & ((best == said) | (chance.max(axis=0) < _BEYOND_DOUBT))
    return np.where(kept, said, best), np.where(kept, own.stored[:, rows], together)


def _evidence(pixels: Pixels, rows: slice, rules: Transitions) -> NDArray[np.float32]:
    classes = pixels.classes[rows]
    if pixels.stored is None:
        return evidence_of_classes(classes, len(rules.prior))
    chance = pixels.stored[:, rows].astype(np.float32) / np.float32(PROBABILITY_STEPS)
    return evidence_of_chances(chance, classes != IGNORE, rules)


def _refuse_folders(maps: Sequence[MapOfSurvey], out: Sequence[Prediction]) -> None:
    """Refuse results that would replace a map, or each other: each has a filled.tif and sums."""
    if not maps or len(maps) != len(out):
        raise ConfigError(
            f"{len(maps)} maps and {len(out)} places for their results; give at least one map, and "
            "a place for each."
        )
    taken = {path.resolve().parent: one.name for one in maps for path in one.prediction.paths}
    for one, prediction in zip(maps, out, strict=True):
        folders = {path.resolve().parent for path in prediction.paths}
        for folder in folders & taken.keys():
            raise ConfigError(
                f"The consistent map of {one.name} would go to {folder}, where that of "
                f"{taken[folder]} lies; write each to a folder of its own."
            )
        taken.update(dict.fromkeys(folders, one.name))


def _common_scheme(maps: Sequence[MapOfSurvey], origins: Sequence[MapOrigin]) -> ClassScheme:
    first = origins[0].scheme
    for one, origin in zip(maps, origins, strict=True):
        if origin.scheme.names != first.names:
            raise SceneError(
                f"{one.prediction.classes} holds the classes {','.join(origin.scheme.names)}, and "
                f"that of {maps[0].name} {','.join(first.names)}; map all surveys with the same "
                "classes."
            )
    return first


def _checked_grid(one: MapOfSurvey, scheme: ClassScheme) -> GeoBox:
    """The grid of a map, once its probabilities are known to be of these classes and pixels."""
    with open_raster(one.prediction.classes) as classes:
        own = raster_grid(classes)
    path = one.prediction.probability
    if path is None:
        return own
    with open_raster(path) as probability:
        if probability.count != len(scheme.names):
            raise SceneError(
                f"{path} has {probability.count} bands for {len(scheme.names)} classes; map the "
                "scene again."
            )
        other = raster_grid(probability)
    if not same_grid(own, other):
        raise GridError(
            f"{one.prediction.classes} and {path} are not on the same pixels "
            f"({describe_grid(own)}; {describe_grid(other)}); map the scene again."
        )
    return own


def _common_grid(grids: Sequence[GeoBox]) -> GeoBox:
    """The pixels of the finest grid, as far as any of them reaches."""
    finest = min(grids, key=gsd_m)
    for grid in grids:
        if not same_crs(crs_of(grid), crs_of(finest)):
            raise GridError(
                f"The maps have different reference systems ({describe_grid(finest)}; "
                f"{describe_grid(grid)}); give the grid to bring them onto, of "
                "geoseg.mosaic.mosaic_grid."
            )
    to_pixel = ~finest.affine
    corners = [
        to_pixel * (grid.affine * corner)
        for grid in grids
        for corner in ((0, 0), (grid.shape.x, grid.shape.y))
    ]
    columns, rows = zip(*corners, strict=True)
    left, top = (math.floor(min(axis) + _ALIGNED_PX) for axis in (columns, rows))
    right, bottom = (math.ceil(max(axis) - _ALIGNED_PX) for axis in (columns, rows))
    lattice = finest.affine * Affine.translation(left, top)
    return GeoBox((bottom - top, right - left), lattice, finest.crs)


def _shares(maps: Sequence[MapOfSurvey], scheme: ClassScheme) -> NDArray[np.float64]:
    """How common each class is on the maps, each of which counts alike."""
    shares = np.array([_share(one, len(scheme.classes)) for one in maps])
    return np.asarray(shares.sum(axis=0), dtype=np.float64)


def _share(one: MapOfSurvey, count: int) -> NDArray[np.float64]:
    """The mean probability of each class, which is its share where probabilities mean anything."""
    path = one.prediction.probability
    if path is None:
        classes = _thinned(one.prediction.classes)[0]
        found = np.bincount(classes.ravel(), minlength=IGNORE + 1)[:count].astype(np.float64)
    else:
        stored = _thinned(path)
        found = stored[:, stored[0] != IGNORE].sum(axis=1, dtype=np.float64)
    return np.asarray(found / max(found.sum(), 1), dtype=np.float64)


def _thinned(path: Path) -> NDArray[np.uint8]:
    """A map (K, H, W) with as many rows and columns left out as keep it small."""
    with open_raster(path) as raster, reading(path):
        shape = (min(raster.height, _SAMPLE_PX), min(raster.width, _SAMPLE_PX))
        pixels: NDArray[np.uint8] = raster.read(out_shape=(raster.count, *shape))
        return pixels


def moved_back_by(origin: MapOrigin) -> Shift | None:
    """The shift that a consistent map was corrected by; None where it was not."""
    known = [origin.tags.get(name) for name in _SHIFT_TAGS]
    if None in known:
        return None
    x_m, y_m, unc_m = (float(value or 0) for value in known)
    return Shift(x_m=x_m, y_m=y_m, unc_m=unc_m, samples=0)


def _tags(one: MapOfSurvey, origin: MapOrigin, grid: GeoBox) -> dict[str, str]:
    """What a map says of its making, and that it was made consistent: it is of its job no more.

    It keeps the pixel that it was mapped at, which may be coarser than the one it is written at.
    """
    left_out = {"AREA_OR_POINT", "CLASSES", JOB_TAG}
    kept = {key: value for key, value in origin.tags.items() if key not in left_out}
    shift = one.moved_back
    moved = () if shift is None else (shift.x_m, shift.y_m, shift.unc_m)
    shifted = {name: f"{metres:.3f}" for name, metres in zip(_SHIFT_TAGS, moved, strict=False)}
    return {GSD_TAG: f"{gsd_m(grid):.6g}", **kept, **shifted, "filtered": "hmm"}


def _blocks(grid: GeoBox, top: int) -> Iterator[Window]:
    """The blocks of a strip of the grid."""
    height, width = grid.shape
    for left in range(0, width, BLOCK_PX):
        yield Window(left, top, min(BLOCK_PX, width - left), min(BLOCK_PX, height - top))
