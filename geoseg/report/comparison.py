"""The report of a comparison of models: one page and one picture."""

from __future__ import annotations

import base64
import math
from typing import TYPE_CHECKING

from jinja2 import Environment, PackageLoader, StrictUndefined

from geoseg.files import write_text, writing
from geoseg.page.policy import WRITTEN
from geoseg.report.differences import DifferenceMap, draw_differences
from geoseg.report.intervals import cost_figures, draw_scores

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from geoseg.evaluation.comparison import Comparison
    from geoseg.metrics.resampling import Interval

__all__ = ["DifferenceMap", "write_comparison"]

_LEVEL = 0.05  # of significance


def write_comparison(folder: Path, comparison: Comparison, maps: Iterable[DifferenceMap]) -> None:
    """Write comparison.png and comparison.html, which holds the picture and the maps in itself.

    Args:
        folder: made where it is missing.
        comparison: at least one model.
        maps: scenes to be shown, one at a time in memory.

    Raises:
        OutputError: the folder cannot be written.
    """
    picture = draw_scores(comparison)
    models = [m.model for m in comparison.models]
    drawn = [
        (scene.scene_id, scene.gsd_m, _data_uri(draw_differences(scene, comparison.scheme, models)))
        for scene in maps
    ]
    environment = Environment(
        loader=PackageLoader("geoseg.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"figure": _figure, "interval": _interval, "p": _p}
    page = environment.get_template("comparison.html").render(
        policy=WRITTEN,
        comparison=comparison,
        costs=[cost_figures(m.cost) for m in comparison.models],
        picture=_data_uri(picture),
        maps=drawn,
        level=_LEVEL,
    )
    with writing(folder / "comparison.png") as aside:
        aside.write_bytes(picture)
    write_text(folder / "comparison.html", page)


def _data_uri(png: bytes) -> str:
    return f"data:image/png;base64,{base64.b64encode(png).decode('ascii')}"


def _figure(value: float, form: str = ".3f") -> str:
    return format(value, form) if math.isfinite(value) else "n/a"


def _interval(interval: Interval, form: str = ".3f") -> str:
    if not math.isfinite(interval.low):
        return "no interval"
    return f"{interval.low:{form}} to {interval.high:{form}}"


def _p(value: float) -> str:
    return "< 0.001" if value < 0.001 else _figure(value)
