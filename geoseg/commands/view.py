"""`geoseg view`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from geoseg.commands.options import Host, Port
from geoseg.errors import ConfigError
from geoseg.terminal import note, progress

__all__ = ["view"]

_MOST_TOLD = 5  # of what cannot be shown


def view(
    folder: Annotated[
        Path, typer.Argument(help="Of a run, of maps, scenes or outlines: all below it is shown.")
    ],
    port: Port = 8766,
    host: Host = "127.0.0.1",
) -> None:
    """Show scenes, maps and outlines of a folder on a page with a time slider, until Ctrl-C.

    Example: geoseg view out/run
    """
    try:
        from geoseg.viewer.server import serve as serve_page
    except ModuleNotFoundError as error:
        raise ConfigError(
            f"The page needs {error.name}; run pip install 'starlette>=1.0' 'uvicorn>=0.40'."
        ) from error
    from geoseg.scenes.raster import forget_links
    from geoseg.viewer.folder import look_into

    forget_links()  # it looks at what anybody may have put there, and writes nothing
    try:
        with progress("Looking") as advance:
            contents = look_into(folder, lambda done, total: advance(done, total, "files"))
        for name, why in contents.problems[:_MOST_TOLD]:
            note(f"{name} is not shown: {why}")
        if len(contents.problems) > _MOST_TOLD:
            note(f"{len(contents.problems) - _MOST_TOLD} more are not shown; the page lists them")
        serve_page(contents, folder.resolve().name, host=host, port=port, on_ready=_tell)
    except KeyboardInterrupt:
        note("Stopped.")


def _tell(address: str) -> None:
    note(f"Open {address} to look, Ctrl-C to stop")
