"""What a person is shown of a place: its images as pictures, each in all ways its bands allow."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import rasterio.features
import shapely
import torch

from geoseg.labels import IGNORE
from geoseg.page.pictures import (
    CALLED,
    PERCENT,
    Tones,
    are_power,
    channels_of,
    compositions_of,
    in_decibels,
    mixed,
    span_of,
    toned,
)
from geoseg.sensors import SensorKind, find_sensor

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from geoseg.chips import Chip, Place

__all__ = [
    "COMPOSITIONS",
    "ShownImage",
    "Stretches",
    "picture",
    "shown_images",
    "shown_masks",
]

COMPOSITIONS = {  # by name, as they are called on the page, in the order of its rows
    **{name: CALLED[name] for name in ("rgb", "nir", "pan", "sar", "elevation")},
    "change": "elevation change",
    "grey": CALLED["grey"],
}

_LEAST_CHANGE_M = 2.0
_LOSS, _NONE, _GAIN = (178, 24, 43), (247, 247, 247), (33, 102, 172)  # of surface: red is lower
_SMOOTH_PX = 0.7  # of a mask whose border is drawn: about a pixel's diagonal, no more


class ShownImage(NamedTuple):
    """One image, as a caption tells of it."""

    sensor: str  # as it is called
    kind: str  # of the sensor: multispectral, film, sar ...
    date: str  # 2019-07-12
    gsd_m: float
    height: int
    width: int
    compositions: tuple[str, ...]  # of COMPOSITIONS


def shown_images(place: Place) -> list[ShownImage]:
    """What there is to show of each image of a place, in their order."""
    return [
        ShownImage(
            sensor=_called(chip.sensor_id),
            kind=find_sensor(chip.sensor_id).kind.value,
            date=f"{chip.time:%Y-%m-%d}",
            gsd_m=chip.gsd_m,
            height=chip.valid.shape[0],
            width=chip.valid.shape[1],
            compositions=tuple(_compositions(place, number)),
        )
        for number, chip in enumerate(place.images)
    ]


# Of the images of a place: by sensor, bands and composition. It is empty at first and fills itself.
Stretches = dict[tuple[str, frozenset[str], str], Tones]


def picture(
    place: Place, image: int, composition: str, stretches: Stretches | None = None
) -> NDArray[np.uint8]:
    """One image of a place (H, W, 4): red, green, blue and alpha, which is 0 where not valid.

    All images of one sensor are stretched alike, from the 2nd to the 98th percentile of the valid
    pixels of all its dates, so that what looks different between dates is. Backscatter is shown
    in decibels. Elevation change is since the first image of elevation; red is lower, blue higher,
    and white is none.

    Args:
        place: with its images.
        image: number of one.
        composition: one that `shown_images` names for it.
        stretches: of the same place, so that they are reckoned once for all its pictures.
    """
    stretches = {} if stretches is None else stretches
    chip = place.images[image]
    valid = chip.valid.numpy()
    if composition == "change":
        colours, valid = _change(place, chip, stretches)
    else:
        colours = _stretched(place, chip, composition, stretches)
    alpha = np.where(valid, 255, 0)
    shown = np.dstack([np.where(valid, colour, 0) for colour in colours] + [alpha])
    return np.asarray(np.rint(shown), dtype=np.uint8)


def shown_masks(chip: Chip) -> list[tuple[int, dict[str, object]]]:
    """Class ids above 0 of the mask of an image and where they are, as GeoJSON polygons in pixels.

    The largest come first. x goes right and y down from the outer corner of the first pixel. Steps
    of a pixel are smoothed, so that there are few corners to mend.
    """
    label = chip.label.numpy()
    marked = (label > 0) & (label != IGNORE)
    found = rasterio.features.shapes(label, mask=marked) if marked.any() else ()
    outlines = [
        (int(value), shapely.simplify(shapely.geometry.shape(geometry), _SMOOTH_PX))
        for geometry, value in found
    ]
    outlines.sort(key=lambda one: -one[1].area)
    return [(value, shapely.geometry.mapping(outline)) for value, outline in outlines]


def _called(sensor_id: str) -> str:
    """By what flies it, which nobody knows of elevation."""
    sensor = find_sensor(sensor_id)
    return "DEM" if sensor.kind is SensorKind.TERRAIN else sensor.platform


def _compositions(place: Place, image: int) -> list[str]:
    chip = place.images[image]
    found = [name for name in compositions_of(chip.bands) if name in COMPOSITIONS]
    if "elevation" in found:
        first = next(one for one in place.images if "elevation" in _names(one))
        if first is not chip and _one_grid(first, chip):
            found.append("change")
    return found


def _names(chip: Chip) -> list[str]:
    return [band.common_name for band in chip.bands]


def _one_grid(first: Chip, other: Chip) -> bool:
    return first.valid.shape == other.valid.shape and first.gsd_m == other.gsd_m


def _layers(chip: Chip, composition: str) -> list[NDArray[np.float32]]:
    """The values (H, W) behind red, green and blue, or behind grey."""
    image = chip.image.numpy()
    return mixed([image[n] for n in channels_of(chip.bands, composition)], composition)


def _stretched(
    place: Place, chip: Chip, composition: str, stretches: Stretches
) -> list[NDArray[np.float64]]:
    """Red, green and blue (H, W), 0 to 255."""
    key = (chip.sensor_id, frozenset(_names(chip)), composition)
    if key not in stretches:
        stretches[key] = _tones(place, chip, composition)
    decibels, spans = stretches[key]
    return toned(_layers(_in_decibels(chip) if decibels else chip, composition), spans)


def _tones(place: Place, chip: Chip, composition: str) -> Tones:
    """Of all images of a place that are of the sensor of one, and have its bands."""
    alike = [
        one
        for one in place.images
        if one.sensor_id == chip.sensor_id and set(_names(chip)) <= set(_names(one))
    ]
    decibels = are_power((one.image[:, one.valid].numpy() for one in alike), composition)
    usual = [_layers(_in_decibels(one) if decibels else one, composition) for one in alike]
    spans = []
    for number in range(len(_layers(chip, composition))):
        pixels = [
            layers[number][one.valid.numpy()] for layers, one in zip(usual, alike, strict=True)
        ]
        spans.append(span_of(np.concatenate(pixels), composition))
    return Tones(decibels, spans)


def _in_decibels(chip: Chip) -> Chip:
    return replace(chip, image=torch.from_numpy(in_decibels(chip.image.numpy())))


def _change(
    place: Place, chip: Chip, stretches: Stretches
) -> tuple[list[NDArray[np.float64]], NDArray[np.bool_]]:
    """Colours of how the surface moved since the first image of elevation, and where it is known.

    One scale for all dates.
    """
    surfaces = [one for one in place.images if "elevation" in _names(one)]
    first = surfaces[0]
    key = ("", frozenset[str](), "change")
    if key not in stretches:
        stretches[key] = Tones(False, [(0.0, _most_moved(surfaces))])
    (_, most), *_ = stretches[key].spans
    moved, both = _moved(first, chip)
    share = np.clip(moved / most, -1, 1)
    colours = [
        np.where(share < 0, none + (loss - none) * -share, none + (gain - none) * share)
        for loss, none, gain in zip(_LOSS, _NONE, _GAIN, strict=True)
    ]
    return colours, both


def _most_moved(surfaces: Sequence[Chip]) -> float:
    """How far nearly all of the surfaces moved since the first, in metres."""
    pairs = [_moved(surfaces[0], one) for one in surfaces if _one_grid(surfaces[0], one)]
    known = np.concatenate([np.abs(moved[both]) for moved, both in pairs])
    return max(float(np.percentile(known, PERCENT[1])) if len(known) else 0.0, _LEAST_CHANGE_M)


def _moved(first: Chip, other: Chip) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """How far a surface moved since the first (H, W), in metres, and where both are valid."""
    moved = _layers(other, "elevation")[0] - _layers(first, "elevation")[0]
    return moved.astype(np.float64), (first.valid & other.valid).numpy()
