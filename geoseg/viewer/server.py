"""The server of the page of a folder."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from starlette.responses import Response
from starlette.routing import Route

from geoseg.page.local import KEEP, local_app, number_in, serve_app, told
from geoseg.page.missing import NotThereError
from geoseg.page.pictures import png_bytes
from geoseg.viewer.items import Image, OutlineLayer
from geoseg.viewer.outlines import OutlineBook
from geoseg.viewer.painting import Painter
from geoseg.viewer.tiles import tile_grid
from geoseg.viewer.told import contents_told

if TYPE_CHECKING:
    from collections.abc import Callable

    from starlette.applications import Starlette
    from starlette.requests import Request

    from geoseg.viewer.folder import Contents
    from geoseg.viewer.items import Item

__all__ = ["make_app", "serve"]

_STATIC = {  # what is served, and nothing else
    "leaflet.css": "text/css",
    "leaflet.js": "text/javascript",
    "view.css": "text/css",
    "main.js": "text/javascript",
    "layers.js": "text/javascript",
    "panel.js": "text/javascript",
    "time.js": "text/javascript",
}
_DEEPEST = 24


def make_app(
    contents: Contents, name: str, *, host: str = "127.0.0.1", token: str | None = None
) -> Starlette:
    """The application.

    Args:
        contents: of a folder; nothing else is served.
        name: of the folder, for people.
        host: that it is bound to.
        token: that every request must bring; anyone who reaches the host may ask when None.
    """
    painter, book = Painter(), OutlineBook()
    return local_app(
        [
            Route("/api/contents", told(lambda _: contents_told(contents, name))),
            Route("/api/outlines", told(lambda r: _outlines(contents, book, r))),
            Route("/tile/{n}/{stamp}/{choice}/{z}/{x}/{y}.png", _tiles(contents, painter)),
        ],
        package="geoseg.viewer",
        parts=_STATIC,
        host=host,
        token=token,
    )


def serve(
    contents: Contents,
    name: str,
    *,
    host: str = "127.0.0.1",
    port: int = 8766,
    on_ready: Callable[[str], None],
) -> None:
    """Serve the page of a folder until the process is interrupted, as `serve_app` does.

    Raises:
        ConfigError: the port is taken, or the host cannot be bound to.
        KeyboardInterrupt: when the process is interrupted.
    """
    serve_app(
        lambda token: make_app(contents, name, host=host, token=token),
        host=host,
        port=port,
        on_ready=on_ready,
    )


def _tiles(contents: Contents, painter: Painter) -> Callable[[Request], Response]:
    def answer(request: Request) -> Response:
        asked = request.path_params
        item = _item(contents, asked)
        zoom, column, row = (number_in(asked, key) for key in "zxy")
        if asked["stamp"] != item.stamp or isinstance(item.shown, OutlineLayer):
            raise NotThereError
        grid = tile_grid(zoom, column, row)
        if isinstance(item.shown, Image):
            shown = painter.image_tile(item.shown, asked["choice"], grid, bounds=item.bounds)
        else:
            shown = painter.map_tile(item.shown, asked["choice"], grid)
        return Response(png_bytes(shown), media_type="image/png", headers={"Cache-Control": KEEP})

    return answer


def _outlines(contents: Contents, book: OutlineBook, request: Request) -> dict[str, Any]:
    asked = request.query_params
    item = _item(contents, asked)
    zoom = number_in(asked, "zoom")
    if not isinstance(item.shown, OutlineLayer) or zoom > _DEEPEST:
        raise NotThereError
    west, south, east, north = (
        _degrees(asked.get(key, "")) for key in ("west", "south", "east", "north")
    )
    return book.within(item.shown, (west, south, east, north), zoom)


def _item(contents: Contents, asked: Any) -> Item:  # noqa: ANN401  what a browser sends
    number = number_in(asked, "n")
    if number >= len(contents.items):
        raise NotThereError
    return contents.items[number]


def _degrees(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        raise NotThereError from None
    if not math.isfinite(value):
        raise NotThereError
    return value
