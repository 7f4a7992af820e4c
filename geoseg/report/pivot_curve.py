"""The daily curve of a cell of the pivot, its 90 % interval, and what each sensor measured."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from matplotlib.dates import AutoDateLocator, ConciseDateFormatter

from geoseg.pivot.measurement.variables import find_variable
from geoseg.pivot.storage.arrays import times_of
from geoseg.report.drawing import empty_figure, literal, model_styles

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from geoseg.pivot.physical.posterior import Estimate, Posterior
    from geoseg.pivot.storage import Source

__all__ = ["curve_figure"]

_NINETY = 1.645  # standard deviations
_WIDTH_IN, _PANEL_IN = 9.0, 2.2


def curve_figure(
    posterior: Posterior, sources: Sequence[Source], days: Sequence[float], title: str
) -> Figure:
    """One panel for each variable.

    Days without a measurement that tells of them are shaded: there the curve is the climatology's.

    Args:
        posterior: of one cell.
        sources: acquisitions of the pivot, in order.
        days: since 1970, of the curve.
        title: above all.
    """
    estimate = posterior.at(days)
    names = estimate.variables
    sensors = list(dict.fromkeys(one.sensor_id for one in sources))
    styles = model_styles(sensors)
    figure = empty_figure(_WIDTH_IN, 0.8 + _PANEL_IN * len(names))
    rows = figure.subplots(len(names), 1, sharex=True, squeeze=False)[:, 0]
    for axes, (v, name) in zip(rows, enumerate(names), strict=True):
        _draw_curve(axes, estimate, v)
        _draw_measured(axes, posterior, sources, name, styles)
        variable = find_variable(name)
        unit = " (dB)" if variable.unit == "dB" else ""
        axes.set_ylabel(f"{name}{unit}")
        if len(days) > 1:
            axes.set_xlim(times_of(days[:1])[0], times_of(days[-1:])[0])
    locator = AutoDateLocator()  # type: ignore[no-untyped-call]
    rows[-1].xaxis.set_major_locator(locator)
    rows[-1].xaxis.set_major_formatter(ConciseDateFormatter(locator))  # type: ignore[no-untyped-call]
    lines = {text: line for axes in rows for line, text in _legend(axes)}
    figure.legend(
        list(lines.values()), list(lines), loc="outside lower center", ncols=4, frameon=False
    )
    figure.suptitle(literal(title), fontsize=11)
    return figure


def _draw_curve(axes: Axes, estimate: Estimate, v: int) -> None:
    times = times_of(estimate.days)
    mean, sd = (part[:, v, 0, 0].numpy() for part in (estimate.mean, estimate.sd))
    axes.fill_between(
        times,
        mean - _NINETY * sd,
        mean + _NINETY * sd,
        color="0.75",
        linewidth=0,
        label="90 % interval",
    )
    axes.plot(times, mean, color="black", linewidth=1.2, label="pivot")
    if len(times) == 1:  # of which neither a line nor a band shows anything
        axes.errorbar(times, mean, yerr=_NINETY * sd, fmt="_", color="black", capsize=3)
    usual = estimate.climatology[:, v, 0, 0].numpy()
    if usual.any():
        axes.fill_between(
            times,
            0,
            1,
            where=usual,
            transform=axes.get_xaxis_transform(),
            color="#f3dfc1",
            zorder=0,
            label="climatology only",
        )


def _draw_measured(
    axes: Axes,
    posterior: Posterior,
    sources: Sequence[Source],
    name: str,
    styles: dict[str, tuple[str, str]],
) -> None:
    known = posterior.known[name]
    shown = known.shown[:, 0, 0].numpy()
    sensors = np.array([sources[k].sensor_id for k in known.sources])
    for sensor, (colour, marker) in styles.items():
        here = np.isfinite(shown) & (sensors == sensor)
        if here.any():
            axes.plot(
                times_of(np.array(known.detail.days)[here]),
                shown[here],
                marker,
                color=colour,
                markersize=4,
                label=sensor,
            )


def _legend(axes: Axes) -> list[tuple[Artist, str]]:
    return list(zip(*axes.get_legend_handles_labels(), strict=True))
