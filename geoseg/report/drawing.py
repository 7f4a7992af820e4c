"""What the pictures of a report have in common."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["DPI", "empty_figure", "literal", "model_styles", "png_of"]

DPI = 110

# Okabe & Ito (2008), Color Universal Design, without the yellow, which is too pale for a line.
_COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000")
_MARKERS = "osD^vPX*"  # one more than colours: the fifteenth model still differs from the first


def empty_figure(width_in: float, height_in: float, *, dpi: float = DPI) -> Figure:
    """A figure to be drawn without a display."""
    figure = Figure(figsize=(width_in, height_in), layout="constrained", dpi=dpi)
    FigureCanvasAgg(figure)
    return figure


def png_of(figure: Figure) -> bytes:
    """The figure as a PNG."""
    png = io.BytesIO()
    figure.savefig(png, format="png")
    return png.getvalue()


def model_styles(models: Sequence[str]) -> dict[str, tuple[str, str]]:
    """Colour and marker of each model, the same in every picture of a report."""
    return {
        model: (_COLOURS[i % len(_COLOURS)], _MARKERS[i % len(_MARKERS)])
        for i, model in enumerate(models)
    }


def literal(text: str) -> str:
    """Text that matplotlib does not take for a formula."""
    return text.replace("$", r"\$")
