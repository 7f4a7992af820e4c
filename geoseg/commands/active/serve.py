"""`geoseg active serve`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from geoseg.commands.options import Host, Port
from geoseg.errors import ConfigError
from geoseg.terminal import note, progress

__all__ = ["serve"]


def serve(
    folder: Annotated[Path, typer.Argument(help="The project, of `geoseg active init`.")],
    pack: Annotated[
        Path | None, typer.Option(help="With images; the one the pool was made of if not given.")
    ] = None,
    port: Port = 8765,
    host: Host = "127.0.0.1",
    annotator: Annotated[
        str, typer.Option(help="Who answers; the page asks if it is not given.")
    ] = "",
    round_: Annotated[
        int | None, typer.Option("--round", help="Only what this round proposed; all if not given.")
    ] = None,
) -> None:
    """Serve a page to label what was proposed on, until Ctrl-C. Each click is on disk at once.

    Example: geoseg active serve out/labelling
    """
    try:
        from geoseg.active.page.server import serve as serve_page
    except ModuleNotFoundError as error:
        raise ConfigError(
            f"The page needs {error.name}; run pip install 'starlette>=1.0' 'uvicorn>=0.40'."
        ) from error
    from geoseg.active.page.desk import Desk
    from geoseg.active.project import open_project
    from geoseg.presence.packs import find_places, read_pack
    from geoseg.report.active_layer import map_link

    with open_project(folder) as project:
        try:
            with progress("Listing places") as advance:
                finder = find_places(
                    read_pack(pack or _pack_of(folder)),
                    folder / "page",
                    lambda done, total: advance(done, total, "shards"),
                )
            desk = Desk(project, finder, map_link, number=round_, annotator=annotator.strip())
            serve_page(desk, host=host, port=port, on_ready=_tell)
        except KeyboardInterrupt:
            note("Stopped. Every answer is in the project.")


def _pack_of(folder: Path) -> Path:
    """The pack that the pool of a project was made of."""
    from geoseg.active.sources import read_source

    source = read_source(folder)
    if source.kind != "pack":
        raise ConfigError(
            f"The pool of {folder} was made of the {source.kind} {source.path}, which holds no "
            "images; name a pack of its places with --pack."
        )
    return Path(source.path)


def _tell(address: str) -> None:
    note(f"Open {address} to label, Ctrl-C to stop")
