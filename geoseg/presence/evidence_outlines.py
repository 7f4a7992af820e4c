"""Outlines of what speaks for presence, in each image of the places that are said to hold it."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pandas as pd
import shapely
from pyproj import Geod
from rasterio import Affine

from geoseg.config import OutlineSettings
from geoseg.errors import ConfigError, DataError, SceneError
from geoseg.files import writing
from geoseg.labels import IGNORE
from geoseg.models import choose_device, load_classifier
from geoseg.presence.activation import activation_maps, decision_level
from geoseg.presence.ahead import Ahead
from geoseg.presence.evidence_growth import growth_rows
from geoseg.presence.evidence_layers import Layers, OutlineRow, append_layers
from geoseg.presence.packs import Problem, read_pack, read_shard
from geoseg.presence.packs.pack import require_whole
from geoseg.presence.packs.pixels import Palette
from geoseg.presence.packs.read import read_stored
from geoseg.presence.packs.stored import decode_place
from geoseg.presence.results import RESULTS, part_of_shard, read_part
from geoseg.presence.scoring import Verdict, batches_of, fit_places, only_sensor
from geoseg.vectorize.runs import label_strips
from geoseg.vectorize.tracing import place as lay_out
from geoseg.vectorize.tracing import trace

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from numpy.typing import NDArray

    from geoseg.chips import Chip, Place
    from geoseg.models import Classifier
    from geoseg.presence.packs import Pack, Shard
    from geoseg.presence.scoring import Ready

__all__ = ["EvidenceOutlines", "OutlineRequest", "write_evidence_outlines"]

_AHEAD = 2  # batches that wait for the network
_TOLD = 100  # problems that are named
# Nothing is too small: a cell of evidence is many pixels, so that there are no specks.
_SETTINGS = OutlineSettings(min_area_m2=0, min_hole_m2=0)
_WGS84 = Geod(ellps="WGS84")


@dataclass(frozen=True, slots=True, kw_only=True)
class OutlineRequest:
    """What is to be outlined, and by what."""

    pack: Path
    model: Path
    results: Path | None = None  # of this model and pack; places are decided anew when None
    device: str = "auto"
    most_images: int = 128  # of a batch; fewer of large ones


@dataclass(frozen=True, slots=True, kw_only=True)
class EvidenceOutlines:
    """What became of it."""

    places: int  # said to hold it
    outlined: int  # of these, with an outline
    outlines: int
    grown: int  # of the places with outlines, with known areas on several dates
    not_grown: int  # of the places with outlines and images of several dates, the others
    unplaced: int  # said to hold it and left out, for nobody knows where they lie
    problems: int  # places and shards that could not be read
    first_problems: tuple[Problem, ...]


def write_evidence_outlines(
    request: OutlineRequest,
    out: Path,
    on_shard: Callable[[int, int], None] = lambda _done, _total: None,
) -> EvidenceOutlines:
    """Outline the evidence in each image of the places that are said to hold it.

    The layer `evidence`, polygons in EPSG:4326, has a row for each outline: chip_id; image, counted
    from 0 as the pack has them; date (UTC); sensor; area_m2; evidence, the mean over its pixels of
    what they speak for, as a probability among places like the held-out ones. What lies above the
    level at which the place is decided is outlined, so a place that is just decided may have none.

    The layer `growth`, points, has a row for each date of a place that has outlines on several:
    chip_id; year; area_m2 of all that is outlined, made to never shrink, with low_m2 and high_m2;
    and, the same in all rows of a place, rate_m2_per_year with rate_low and rate_high, the slope of
    a straight line through the areas as outlined, so negative where they shrink; intervals are of
    90 % and hold that a border is known to a cell of evidence.
    Dates are left out that hide more than 5 % of the ground it takes up, in which it reaches the
    edge as far, and those without an outline: what is too faint has no area of nought.

    Convention: the position of a place is the middle of each of its images, and their columns run
    north; they are laid on an azimuthal equidistant projection about it. An image that was cut from
    a scene whose projection is turned against north is drawn turned by that angle. An outline
    across the antimeridian goes on beyond 180 degrees.

    A place without a position is counted and left out: pixels are no degrees. One shard is in
    memory at a time.

    Args:
        request: pack, model, and results where there are some.
        out: the .gpkg, replaced when it exists, whole or not at all.
        on_shard: is told of every shard.

    Raises:
        ConfigError: no name of a GeoPackage, or results of another model or pack.
        DataError: no pack, or no results.
        ModelError: no classifier.
        OutputError: it cannot be written.
    """
    if out.suffix != ".gpkg":
        raise ConfigError(f"{out} is no name of a GeoPackage; let it end in '.gpkg'.")
    pack, checkpoint = read_pack(request.pack), load_classifier(request.model)
    if request.results is not None:
        _require_results_of(request.results, {"model": checkpoint.sha256, "pack": pack.digest})
    look = _Look(
        classifier=checkpoint.classifier.to(choose_device(request.device)),
        # As on the held-out places, where the threshold was set.
        verdict=replace(Verdict.of(checkpoint.record), prevalence=None),
        most_images=request.most_images,
        all_decided=request.results is not None,
    )
    sums: Counter[str] = Counter()
    first: list[Problem] = []
    with writing(out) as aside:
        append_layers(aside, out, Layers([], []), new=True)
        for number, shard in enumerate(pack.shards):
            places = _candidates(pack, shard, request.results, number)
            layers, problems = _outline_shard(places, shard, look, sums)
            append_layers(aside, out, layers)
            first += problems[: _TOLD - len(first)]
            on_shard(number + 1, len(pack.shards))
    return EvidenceOutlines(
        places=sums["places"],
        outlined=sums["outlined"],
        outlines=sums["outlines"],
        grown=sums["grown"],
        not_grown=sums["not_grown"],
        unplaced=sums["unplaced"],
        problems=sums["problems"],
        first_problems=tuple(first),
    )


class _Look(NamedTuple):
    """How places are looked at."""

    classifier: Classifier
    verdict: Verdict
    most_images: int
    all_decided: bool  # only places that are said to hold it are read

    def decided(self, places: list[Place], logits: NDArray[np.float64]) -> NDArray[np.bool_]:
        """Which places are said to hold it (N,)."""
        if self.all_decided:
            return np.ones(len(places), dtype=bool)
        seen = [any(bool(image.valid.any()) for image in place.images) for place in places]
        return self.verdict(logits, [only_sensor(place) for place in places])[1] & seen


class _Told(NamedTuple):
    """What is told of one place."""

    layers: Layers
    dates: int  # of its images

    @property
    def outlined(self) -> bool:
        return bool(self.layers.outlines)

    @property
    def grown(self) -> bool:
        return bool(self.layers.growth)


def _outline_shard(
    places: Iterator[Place | Problem], shard: Shard, look: _Look, sums: Counter[str]
) -> tuple[Layers, list[Problem]]:
    """The rows of a shard in its order, none of one that cannot be read to its end."""
    problems: list[Problem] = []
    found: dict[int, _Told] = {}
    unplaced = 0
    ready = batches_of(fit_places(places, look.classifier, problems.append), look.most_images)
    try:
        with Ahead(ready, most=_AHEAD) as batches:
            for batch in batches:
                outlined = _outline_batch(batch, look)
                found |= {n: told for n, told in outlined.items() if told is not None}
                unplaced += sum(told is None for told in outlined.values())
    except DataError as error:
        found, unplaced, problems = {}, 0, [Problem(shard.name, str(error))]
    told = [found[number] for number in sorted(found)]
    layers = Layers(
        [row for of_place in told for row in of_place.layers.outlines],
        [row for of_place in told for row in of_place.layers.growth],
    )
    sums.update(
        places=len(found) + unplaced,
        outlined=sum(of_place.outlined for of_place in told),
        outlines=len(layers.outlines),
        grown=sum(of_place.grown for of_place in told),
        not_grown=sum(
            of_place.outlined and of_place.dates > 1 and not of_place.grown for of_place in told
        ),
        unplaced=unplaced,
        problems=len(problems),
    )
    return layers, problems


def _outline_batch(ready: Ready, look: _Look) -> dict[int, _Told | None]:
    """Outlines of the places that are said to hold it, by their numbers; None without a position.

    Of places that are not, nothing is told.
    """
    maps, logits = activation_maps(look.classifier, ready.places, ready.batch)
    decided = look.decided(ready.places, logits)
    return {
        ready.numbers[n]: _outline_place(ready.places[n], maps[n], look)
        for n in np.flatnonzero(decided).tolist()
    }


def _outline_place(place: Place, maps: list[NDArray[np.float32]], look: _Look) -> _Told | None:
    if not (np.isfinite(place.lon) and np.isfinite(place.lat)):
        return None
    level = decision_level(look.verdict, only_sensor(place))
    outlines = _outlines(place, maps, look.verdict, level)
    growth = growth_rows(place, maps, level, look.classifier.stride)
    return _Told(Layers(outlines, growth), dates=len({chip.time for chip in place.images}))


def _outlines(
    place: Place, maps: list[NDArray[np.float32]], verdict: Verdict, level: float
) -> list[OutlineRow]:
    sensor = only_sensor(place)
    rows = []
    for number, (chip, evidence) in enumerate(zip(place.images, maps, strict=True)):
        polygons, owner = _trace(evidence, level, chip.gsd_m)
        inside = owner > 0
        chance, _ = verdict(evidence[inside].astype(np.float64), [sensor] * int(inside.sum()))
        known = np.bincount(owner[inside], minlength=len(polygons) + 1)
        total = np.bincount(owner[inside], chance, minlength=len(polygons) + 1)
        metres = _in_metres(polygons, chip)
        rows += [
            OutlineRow(
                chip_id=place.id,
                image=number,
                date=pd.Timestamp(chip.time),
                sensor=chip.sensor_id,
                area_m2=float(shapely.area(metres[k])),
                evidence=float(total[k + 1] / known[k + 1]),
                geometry=on_ground,
            )
            for k, on_ground in enumerate(_in_degrees(metres, place.lon, place.lat))
        ]
    return rows


def _trace(
    evidence: NDArray[np.float32], level: float, gsd_m: float
) -> tuple[NDArray[np.object_], NDArray[np.int32]]:
    """Polygons in pixels, and of each pixel (H, W) the number of its polygon, 0 for none."""
    height, width = evidence.shape
    classes = np.where(np.isnan(evidence), IGNORE, evidence >= level).astype(np.uint8)
    strips = list(label_strips([classes], width))
    tracing = trace(strips, _SETTINGS, pixel_m2=gsd_m**2)
    runs = np.repeat(tracing.of_label[strips[0].labels], strips[0].lengths_px)
    # As a strip lays its pixels out: one before all, a row above, and one at the end of each row.
    return tracing.polygons, runs[1:].reshape(height + 1, width + 1)[1:, :-1]


def _in_metres(polygons: NDArray[np.object_], chip: Chip) -> NDArray[np.object_]:
    """Polygons in pixels as metres east and north of the middle of a chip."""
    size, (height, width) = chip.gsd_m, chip.valid.shape
    return lay_out(polygons, Affine(size, 0, -width / 2 * size, 0, -size, height / 2 * size))


def _in_degrees(metres: NDArray[np.object_], lon: float, lat: float) -> NDArray[np.object_]:
    """The same, back from an azimuthal equidistant projection on the ellipsoid about a point."""

    def from_middle(corners: NDArray[np.float64]) -> NDArray[np.float64]:
        east, north = corners.T
        azimuth, distance = np.degrees(np.arctan2(east, north)), np.hypot(east, north)
        middle = np.full(len(corners), lon), np.full(len(corners), lat)
        there, latitude, _ = _WGS84.fwd(*middle, azimuth, distance)
        # Not on the other side of the antimeridian: the sides would go around the Earth.
        longitude = lon + (np.asarray(there) - lon + 180) % 360 - 180
        return np.stack([longitude, np.asarray(latitude)], axis=1)

    turned: NDArray[np.object_] = shapely.transform(metres, from_middle)
    return turned


def _candidates(
    pack: Pack, shard: Shard, results: Path | None, number: int
) -> Iterator[Place | Problem]:
    """The places of a shard; with results, those alone that they say hold it, and no problem.

    Of a shard that is missing in the results there are none.
    """
    if results is None:
        yield from read_shard(shard, pack)
        return
    part = part_of_shard(results, number)
    ids = _decided_in(part) if part.is_file() else set()
    if not ids:
        return
    require_whole(shard)
    palettes = {kind: Palette(kind, pixels) for kind, pixels in pack.kinds.items()}
    for stored in read_stored(shard.path, pack.foreign):
        if isinstance(stored, Problem) or stored.id not in ids:
            continue
        try:
            yield decode_place(stored.without_masks(), palettes)
        except SceneError as error:  # of two places of one id, the one that is not in the results
            yield Problem(stored.id, str(error))


def _decided_in(part: Path) -> set[str]:
    """Ids of the places of a shard that are said to hold it."""
    return {
        chip_id
        for batch in read_part(part, ["chip_id", "decision"])
        for chip_id, held in zip(*(column.to_pylist() for column in batch.columns), strict=True)
        if held
    }


def _require_results_of(results: Path, wanted: dict[str, str]) -> None:
    path = results / RESULTS
    try:
        told = json.loads(path.read_bytes())
        made_of = {"model": told["model"], "pack": told["pack_digest"]}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(
            f"{path} tells of no prediction ({type(error).__name__}); give the folder that "
            "`geoseg presence predict` wrote."
        ) from error
    for what, identity in wanted.items():
        if made_of[what] != identity:
            raise ConfigError(f"{results} holds results of another {what}; give that {what}.")
