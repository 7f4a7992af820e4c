"""`geoseg track`: from vector files of several dates to one inventory."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, NamedTuple

from pyproj import CRS

from geoseg import __version__
from geoseg.errors import ConfigError, LabelError, nearest
from geoseg.files import sha256_of
from geoseg.inventory import (
    About,
    Interval,
    align_surveys,
    build_inventory,
    check_geopackage_path,
    columns_of,
    common_crs,
    drawn_of,
    is_inventory,
    parse_interval,
    prepare_survey,
    read_drawn,
    read_ground,
    read_inventory,
    read_reference,
    require_apart,
    write_inventory,
)
from geoseg.report import inventory_project, inventory_styles
from geoseg.terminal import Outcome, Table, note, progress

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from geoseg.inventory import Drawn, Inventory, Prepared, Registration, Survey
    from geoseg.scenes import Shift

__all__ = ["Given", "TrackOptions", "as_outcome", "give", "track_files"]

_SEPARATOR = "::"  # between a file and its layer
_COARSEST_M = 10_000.0
_LAYER_MARK = "|"
_STATUSES = ("present", "absent", "unknown")
_EVENTS = ("appear", "vanish", "reappear", "split", "merge")


class Given(NamedTuple):
    """A file of outlines, and what the user says of it."""

    path: Path
    layer: str | None = None
    when: Interval | None = None
    gsd_m: float | None = None
    seen: Path | None = None
    shift: Shift | None = None  # as measured on the image
    corrected: bool = False  # whether the outlines were moved back by it already
    errors: Mapping[str, float] = MappingProxyType({})  # of areas, by kind, as shares of them


@dataclass(frozen=True, slots=True, kw_only=True)
class TrackOptions:
    """How surveys are made into an inventory."""

    class_of: str | None = None
    date_of: str | None = None
    reference: Path | None = None  # whose ids are carried over
    divides: Path | None = None  # whose outlines split ice masses; a reference too
    dem: Path | None = None
    correct_shift: bool = False
    most_shift_m: float | None = None
    lies_right: str | None = None  # the survey that shifts are measured from
    title: str | None = None
    licence: str = ""
    provenance: Mapping[str, str] | None = None


def give(
    files: Sequence[str],
    *,
    dates: str | None,
    gsd_m: str | None = None,
    seen: Sequence[str] = (),
) -> list[Given]:
    """Files as the command line names them, each with what is said of it.

    Args:
        files: paths, or path::layer.
        dates: one for each file that is no inventory, commas between; in the order of the files.
        gsd_m: pixels in metres: one for all of these files, or one for each.
        seen: date=path, the ground that the survey of this date saw.

    Raises:
        ConfigError: not as many as there are files, or no date or number.
    """
    given = [_split(file) for file in files]
    plain = [number for number, one in enumerate(given) if not is_inventory(one.path)]
    if dates is not None:
        for number, when in zip(plain, _each(dates, len(plain), "--dates"), strict=True):
            given[number] = given[number]._replace(when=parse_interval(when))
    if gsd_m is not None:
        several = "," in gsd_m
        pixels = _each(gsd_m, len(plain), "--gsd") if several else [gsd_m] * len(plain)
        for number, pixel in zip(plain, pixels, strict=True):
            given[number] = given[number]._replace(gsd_m=_metres(pixel))
    for text in seen:
        number, path = _seen(text, given)
        given[number] = given[number]._replace(seen=path)
    return given


def track_files(given: Sequence[Given], options: TrackOptions, out: Path) -> Inventory:
    """Link the outlines of files into tracks, and write the inventory.

    Ids of an inventory that lies at `out` already, or is among the files, stay as they are.

    Args:
        given: the files, in any order.
        options: what to do with them.
        out: the GeoPackage, replaced when it exists.

    Raises:
        ConfigError: nothing is given, a date is missing, or two surveys are of one date.
        LabelError: a file cannot be read.
        GridError: one has no coordinate reference system, or lies too far from the others.
        OutputError: the inventory cannot be written.
    """
    check_geopackage_path(out)
    if not given:
        raise ConfigError("Name the files of outlines to track, oldest first or not.")
    _check_options(options, out)
    earlier = _earlier(given, out)
    _require_one_meaning(options.class_of, given)
    drawn = [(survey, one) for one in given for survey in _drawn(one, options)]
    crs = (
        common_crs([survey for survey, _ in drawn])
        if earlier is None
        else CRS(earlier.outlines.crs)
    )
    known = options.reference or options.divides
    reference = None if known is None else read_reference(known, crs)
    divides = None if options.divides is None else reference
    prepared = [
        _with_known(prepare_survey(survey, crs=crs, divides=divides), one) for survey, one in drawn
    ]
    require_apart([p.survey for p in prepared])
    for remark in (remark for p in prepared for remark in p.remarks):
        note(remark)
    if earlier is not None:
        _refuse_losses(earlier, [p.survey for p in prepared], out)
    prepared = _aligned(prepared, options, _base_of(earlier, prepared))
    said = About(title=f"Inventory {out.stem}", licence="", provenance={})
    before = said if earlier is None else earlier
    about = About(
        title=options.title or before.title,
        licence=options.licence or before.licence,
        provenance={
            **before.provenance,
            "geoseg": __version__,
            "sources": ",".join(f"{one.path.name}:{sha256_of(one.path)[:12]}" for one in given),
            **(options.provenance or {}),
        },
    )
    with progress("Linking outlines") as advance:
        inventory = build_inventory(
            prepared,
            about,
            earlier=earlier,
            reference=reference,
            dem=options.dem,
            on_step=note,
            on_survey=lambda done, total: advance(done, total, ""),
        )
    write_inventory(
        out,
        inventory,
        styles=inventory_styles(inventory),
        project=inventory_project(inventory, file_name=out.name),
    )
    return inventory


def as_outcome(inventory: Inventory, path: Path) -> Outcome:
    """Tracks and events, for people and for scripts."""
    tracks, outlines, events = inventory.tracks, inventory.outlines, inventory.events
    area = outlines.groupby(["kind", "survey"])["area_km2"].sum()
    kinds = sorted(set(tracks["kind"]))
    figures = {
        "inventory": str(path),
        "surveys": inventory.surveys["survey"].tolist(),
        "outlines": len(outlines),
        "tracks": {kind: int((tracks["kind"] == kind).sum()) for kind in kinds},
        "events": {str(name): int(n) for name, n in events["event"].value_counts().items()},
        "area_km2": {
            kind: {str(survey): float(km2) for survey, km2 in area[kind].items()} for kind in kinds
        },
        "shifts_m": {
            str(row.survey): None
            if math.isnan(row.shift_x_m)
            else [row.shift_x_m, row.shift_y_m, row.shift_unc_m]
            for row in inventory.surveys.itertuples()
        },
        "significant": int(tracks["significant"].fillna(False).sum()),
        "repaired": int(inventory.surveys["repaired"].sum()),
        "duplicates": int(inventory.surveys["duplicates"].sum()),
        "overlaps": int(inventory.surveys["overlaps"].sum()),
    }
    return Outcome(figures, (_by_survey(inventory, path), _by_event(inventory)))


def _by_survey(inventory: Inventory, path: Path) -> Table:
    """What each survey found of each kind."""
    states = inventory.states.groupby(["survey", "kind", "status"]).size()
    area = inventory.outlines.groupby(["survey", "kind"])["area_km2"].sum()
    rows = []
    for survey in inventory.surveys["survey"]:
        for kind in sorted(set(inventory.tracks["kind"])):
            counts = [states.get((survey, kind, status), 0) for status in _STATUSES]
            km2 = area.get((survey, kind), 0.0)
            rows.append((f"{survey} {kind}", *(str(n) for n in counts), f"{km2:.2f}"))
    return Table(f"Tracks in {path}", ("survey", *_STATUSES, "area (km2)"), rows)


def _by_event(inventory: Inventory) -> Table:
    counts = inventory.events.groupby(["kind", "event"]).size()
    kinds = sorted(set(inventory.tracks["kind"]))
    rows = [(kind, *(str(counts.get((kind, name), 0)) for name in _EVENTS)) for kind in kinds]
    return Table("Events", ("kind", *_EVENTS), rows)


def _split(file: str) -> Given:
    path, _, layer = file.partition(_SEPARATOR)
    return Given(Path(path), layer or None)


def _each(text: str, count: int, option: str) -> list[str]:
    parts = [part.strip() for part in text.split(",")]
    if len(parts) != count:
        raise ConfigError(
            f"{option} names {len(parts)} and there are {count} files of outlines; name one for "
            "each, in their order."
        )
    return parts


def _metres(text: str) -> float:
    try:
        pixel = float(text)
    except ValueError:
        pixel = -1.0
    if not 0 < pixel < _COARSEST_M:
        raise ConfigError(f"--gsd {text!r} is no pixel in metres; write 30.")
    return pixel


def _seen(text: str, given: Sequence[Given]) -> tuple[int, Path]:
    """Which file DATE=FILE is of, and the file of the ground."""
    date, _, path = text.partition("=")
    span = parse_interval(date)
    dated = [number for number, one in enumerate(given) if one.when == span]
    if not dated or not path:
        known = [str(one.when) for one in given if one.when is not None]
        raise ConfigError(
            f"--seen {text!r} is of no file; write DATE=FILE. {nearest(str(span), known)}"
        )
    return dated[0], Path(path)


def _earlier(given: Sequence[Given], out: Path) -> Inventory | None:
    """The one inventory whose ids are to stay: at the place of the new one, or among the files."""
    paths = [one.path for one in given if is_inventory(one.path)]
    if out.is_file() and not is_inventory(out):
        if out.resolve() in {one.path.resolve() for one in given}:
            raise ConfigError(f"{out} is one of the files to track; name another --out.")
        raise ConfigError(f"{out} exists and is no inventory; name another --out, or delete it.")
    if out.is_file():
        paths.append(out)
    known = {path.resolve(): path for path in paths}
    if len(known) > 1:
        names = " and ".join(str(path) for path in known.values())
        raise ConfigError(
            f"{names} are inventories with ids of their own, and only those of one can stay; write "
            "to another --out, or name one of them."
        )
    if not known:
        return None
    path = next(iter(known.values()))
    note(f"Ids of {path} stay as they are")
    return read_inventory(path)


def _drawn(given: Given, options: TrackOptions) -> list[Drawn]:
    if given.path.is_dir():
        raise LabelError(f"{given.path} is a folder; name the file of outlines in it.")
    if is_inventory(given.path):
        if given.layer is not None:
            raise ConfigError(
                f"{given.path} is an inventory and comes in whole; leave {given.layer!r} out."
            )
        return drawn_of(read_inventory(given.path), given.path.name)
    drawn = read_drawn(
        given.path,
        layer=given.layer,
        when=given.when,
        date_of=options.date_of,
        class_of=options.class_of,
    )
    if given.gsd_m is not None:
        outlines = drawn.outlines.assign(gsd_m=given.gsd_m)
        drawn = replace(drawn, gsd_m=given.gsd_m, outlines=outlines)
    return [drawn if given.seen is None else replace(drawn, seen=read_ground(given.seen))]


def _with_known(prepared: Prepared, given: Given) -> Prepared:
    """A survey with what is known of its image."""
    if given.shift is not None:
        prepared = replace(prepared, shift=given.shift, corrected=given.corrected)
    return replace(prepared, errors=given.errors)


def _check_options(options: TrackOptions, out: Path) -> None:
    """Refuse what can be refused before any work."""
    if options.most_shift_m is not None and not 0 < options.most_shift_m < math.inf:
        raise ConfigError(f"--most-shift {options.most_shift_m:g} is no distance in metres.")
    if _LAYER_MARK in out.name:
        raise ConfigError(
            f"{out.name!r} holds a {_LAYER_MARK!r}, by which QGIS cuts names; rename it."
        )


def _require_one_meaning(class_of: str | None, given: Sequence[Given]) -> None:
    """Refuse a name that is a column of some files, and would be a class in the others."""
    plain = [one for one in given if one.path.is_file() and not is_inventory(one.path)]
    if class_of is None or not plain:
        return
    has = {one.path: class_of in columns_of(one.path, one.layer) for one in plain}
    if any(has.values()) and not all(has.values()):
        lacking = next(path for path, there in has.items() if not there)
        raise ConfigError(
            f"{lacking} has no column {class_of!r}, by which other files tell classes; add it "
            "there, or track the files apart."
        )


def _refuse_losses(earlier: Inventory, surveys: Sequence[Survey], out: Path) -> None:
    """Refuse to replace an inventory by one that lacks a survey of it."""
    lost = [
        str(row.survey)
        for row in earlier.surveys.itertuples()
        if not any(s.first_day < row.end_date and s.end_day > row.start_date for s in surveys)
    ]
    if lost:
        raise ConfigError(
            f"The survey {lost[0]} of the earlier inventory would be lost; name the inventory "
            f"among the files to add to it (geoseg track {out.name} NEW.gpkg ...), or write to "
            "another --out for one without it."
        )


def _base_of(earlier: Inventory | None, prepared: Sequence[Prepared]) -> str | None:
    """The survey that an earlier inventory took to lie right: its surveys are not to move again."""
    if earlier is None:
        return None
    names = {p.survey.name for p in prepared}
    where = earlier.surveys[["shift_x_m", "shift_y_m", "shift_unc_m"]]
    lies = (where == 0).all(axis=1) & ~earlier.surveys["corrected"].astype(bool)
    still = earlier.surveys["survey"][lies]
    return next((name for name in still if name in names), None)


def _aligned(
    prepared: Sequence[Prepared], options: TrackOptions, base: str | None
) -> list[Prepared]:
    """Surveys with their shift to the one that lies best, said and corrected as asked for."""
    aligned, found = align_surveys(
        prepared,
        reference=options.lies_right or base,
        correct=options.correct_shift,
        refuse_above_m=options.most_shift_m,
    )
    for registration in found:
        if registration.verdict != "reference":
            note(_how_it_lies(registration, corrected=options.correct_shift))
    return aligned


def _how_it_lies(registration: Registration, *, corrected: bool) -> str:
    shift = registration.shift
    if shift is None:
        return (
            f"{registration.survey}: how it lies to {registration.reference} could not be "
            "measured, as too few outlines stayed the same"
        )
    done = ""
    if registration.verdict == "correct":
        done = ": moved back" if corrected else ": left there; --align moves it"
    return (
        f"{registration.survey} lies {shift.length_m:.1f} m off {registration.reference} "
        f"({shift.x_m:+.1f} m in x, {shift.y_m:+.1f} m in y, each to {shift.unc_m:.1f} m){done}"
    )
