"""The figures of a page: as PNG and SVG beside it, and inside it."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING

from geoseg.files import writing
from geoseg.report.inventory_figures import png_and_svg

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from matplotlib.figure import Figure

__all__ = ["write_figures"]


def write_figures(
    page: Path, figures: Mapping[str, Figure | None]
) -> tuple[list[Path], dict[str, str]]:
    """Write figures, remove those of an earlier page, and return paths and what the page holds.

    They lie in a folder named like the page with `_figures` at its end.

    Args:
        page: the .html.
        figures: by name; None for one that this page does not have.

    Returns:
        What was written, and an address of each picture that holds all of it.

    Raises:
        OutputError: a file cannot be written.
    """
    folder = page.with_name(f"{page.stem}_figures")
    written, pictures = [], {}
    for name, figure in figures.items():
        files = [folder / f"{name}.{form}" for form in ("png", "svg")]
        if figure is None:
            for file in files:
                file.unlink(missing_ok=True)
            continue
        png, svg = png_and_svg(figure)
        for file, content in zip(files, (png, svg), strict=True):
            with writing(file) as aside:
                aside.write_bytes(content)
        written += files
        pictures[name] = f"data:image/svg+xml;base64,{base64.b64encode(svg).decode('ascii')}"
    return written, pictures
