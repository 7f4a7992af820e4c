"""What is known of chips beforehand: a table with a row a chip."""

from __future__ import annotations

import math
from datetime import datetime
from typing import TYPE_CHECKING, Any, NamedTuple

from geoseg.dates import as_utc, parse_interval
from geoseg.errors import LabelError, SceneError
from geoseg.presence.packs.pack import Problem
from geoseg.presence.packs.texts import read_columns, read_texts

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["ChipLabel", "as_present", "position", "read_labels"]

_YES = frozenset({"true", "1", "1.0", "yes", "present"})
_NO = frozenset({"false", "0", "0.0", "no", "absent"})
_UNKNOWN = frozenset({"", "nan", "none", "null", "unknown", "na", "<na>"})


class ChipLabel(NamedTuple):
    """What a table says of one chip; None and NaN where it says nothing."""

    present: bool | None = None
    lon: float = math.nan
    lat: float = math.nan
    time: datetime | None = None
    sensor_id: str | None = None


def read_labels(path: Path) -> tuple[dict[str, ChipLabel], list[Problem]]:
    """Labels by chip, and rows that cannot serve; of rows of one chip that differ, the first.

    Args:
        path: CSV or Parquet with columns chip_id and present (true or false, 1 or 0, yes or no,
            present or absent; empty where nobody has looked), and where there are any lon, lat
            (degrees), time (2016-07 or an ISO date) and sensor. A row with one value that is none
            of these labels nothing.

    Raises:
        LabelError: no table, without these columns, or with rows of more values than columns.
    """
    labels: dict[str, ChipLabel] = {}
    problems = []
    for row in _rows(path):
        key = str(row["chip_id"])
        try:
            label = _label(row)
        except ValueError as error:
            problems.append(Problem(key, f"{path.name}: {error}"))
            continue
        if labels.setdefault(key, label) != label:
            problems.append(Problem(key, f"{path.name} says two things of it; the first is kept."))
    return labels, problems


def as_present(value: object) -> bool | None:
    """Whether something is present, as people write it; None where nobody has looked.

    Raises:
        LabelError: it is none of these.
    """
    if value is None:
        return None
    text = str(value).strip().lower()
    if text in _YES:
        return True
    if text in _NO:
        return False
    if text in _UNKNOWN:
        return None
    raise LabelError(f"present = {value!r} is neither true nor false; write one of them.")


def position(lon: object, lat: object) -> tuple[float, float]:
    """Longitude, -180 to 180, and latitude, -90 to 90, in degrees; NaN where one is not known.

    Raises:
        SceneError: no number, or nowhere on Earth.
    """
    x, y = _degrees(lon), _degrees(lat)
    if abs(x) > 180 or abs(y) > 90:
        raise SceneError(
            f"it lies nowhere on Earth (lon {x:g}, lat {y:g}); write degrees, lon -180 to 180 and "
            "lat -90 to 90."
        )
    return x, y


def _rows(path: Path) -> list[dict[str, Any]]:
    try:
        table = read_columns(path) if path.suffix.lower() == ".parquet" else read_texts(path)
    except (OSError, ValueError) as error:
        raise LabelError(f"{path} is no table of labels ({error}); give CSV or Parquet.") from error
    missing = [name for name in ("chip_id", "present") if name not in table.columns]
    if missing:
        raise LabelError(
            f"{path} has no column {' and no '.join(missing)}; name them in its first row."
        )
    rows: list[dict[str, Any]] = table.to_dict("records")  # type: ignore[assignment]  # columns are text
    return rows


def _label(row: dict[str, Any]) -> ChipLabel:
    time = str(row.get("time", "") or "").strip()
    sensor = str(row.get("sensor", "") or "").strip()
    lon, lat = position(row.get("lon"), row.get("lat"))
    return ChipLabel(
        present=as_present(row["present"]),
        lon=lon,
        lat=lat,
        time=None if time.lower() in _UNKNOWN | {"nat"} else _moment(time),
        sensor_id=None if sensor.lower() in _UNKNOWN else sensor,
    )


def _degrees(value: object) -> float:
    text = str(value).strip().lower()
    if text in _UNKNOWN:
        return math.nan
    try:
        return float(text)
    except ValueError:
        raise SceneError(f"{value!r} is no longitude or latitude; write degrees.") from None


def _moment(text: str) -> datetime:
    """The beginning of a date, or a moment of a day."""
    if len(text) <= 10 or "/" in text:
        return parse_interval(text).start
    return as_utc(datetime.fromisoformat(text))
