"""The server of the page to label on."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from starlette.concurrency import run_in_threadpool
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from geoseg.active.page.desk import Desk
from geoseg.errors import ConfigError
from geoseg.files import without_nan
from geoseg.page.local import KEEP, local_app, number_in, serve_app, told
from geoseg.page.missing import NotThereError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from starlette.applications import Starlette
    from starlette.requests import Request

__all__ = ["make_app", "serve"]

_STATIC = {  # what is served, and nothing else
    "page.css": "text/css",
    "main.js": "text/javascript",
    "api.js": "text/javascript",
    "place.js": "text/javascript",
    "lapse.js": "text/javascript",
    "outline.js": "text/javascript",
}
_MOST_BYTES = 2**20  # of what a page sends: an outline of 20,000 corners


def make_app(desk: Desk, *, host: str = "127.0.0.1", token: str | None = None) -> Starlette:
    """The application.

    Args:
        desk: what it serves.
        host: that it is bound to.
        token: that every request must bring; anyone who reaches the host may ask when None.
    """
    return local_app(
        [
            Route("/place/{edition}/{number}.geojson", _points(desk)),
            Route("/picture/{edition}/{number}/{image}/{composition}.png", _pictures(desk)),
            Route("/api/about", told(lambda _: desk.about())),
            Route("/api/queue", told(lambda r: desk.queue(_name(r.query_params)))),
            Route(
                "/api/place",
                told(lambda r: desk.place(number_in(r.query_params, "n"), _name(r.query_params))),
            ),
            Route("/api/answer", _taken(desk, _answer), methods=["POST"]),
            Route("/api/undo", _taken(desk, _undo), methods=["POST"]),
            Route("/api/outline", _taken(desk, _outline), methods=["POST"]),
            Route("/api/erase", _taken(desk, _erase), methods=["POST"]),
        ],
        package="geoseg.active.page",
        parts=_STATIC,
        host=host,
        token=token,
    )


def serve(
    desk: Desk, *, host: str = "127.0.0.1", port: int = 8765, on_ready: Callable[[str], None]
) -> None:
    """Serve the page until the process is interrupted.

    A host that others reach gets a token, which is part of the address that is told.

    Args:
        desk: what is served.
        host: to bind to.
        port: to bind to; one that is free when 0.
        on_ready: is told the address to open, when it can be.

    Raises:
        ConfigError: the port is taken, or the host cannot be bound to.
        KeyboardInterrupt: when the process is interrupted.
    """
    serve_app(
        lambda token: make_app(desk, host=host, token=token),
        host=host,
        port=port,
        on_ready=on_ready,
    )


def _pictures(desk: Desk) -> Callable[[Request], Response]:
    def answer(request: Request) -> Response:
        asked = request.path_params
        if asked["edition"] != desk.edition:
            raise NotThereError
        number, image = number_in(asked, "number"), number_in(asked, "image")
        found = desk.picture(number, image, asked["composition"])
        return Response(found, media_type="image/png", headers={"Cache-Control": KEEP})

    return answer


def _points(desk: Desk) -> Callable[[Request], Response]:
    def answer(request: Request) -> Response:
        asked = request.path_params
        number = number_in(asked, "number")
        if asked["edition"] != desk.edition:
            raise NotThereError
        name = f'attachment; filename="place-{number}.geojson"'
        return JSONResponse(
            desk.point(number),
            media_type="application/geo+json",
            headers={"Content-Disposition": name},
        )

    return answer


def _taken(
    desk: Desk, take: Callable[[Desk, dict[str, Any]], dict[str, Any]]
) -> Callable[[Request], Awaitable[Response]]:
    async def answer(request: Request) -> Response:
        said = await _read(request)
        if said.get("project") != desk.project.key:
            raise ConfigError("This page is of another project; load it again.")
        # The answer goes out when the commit has returned, and not before.
        return JSONResponse(without_nan(await run_in_threadpool(take, desk, said)))

    return answer


async def _read(request: Request) -> dict[str, Any]:
    content = b""
    async for piece in request.stream():
        content += piece
        if len(content) > _MOST_BYTES:
            raise ConfigError(f"What was sent is longer than {_MOST_BYTES} bytes; send less.")
    try:
        said = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise ConfigError("What was sent is no JSON; load the page again.") from error
    if not isinstance(said, dict):
        raise ConfigError("What was sent is no JSON object; load the page again.")
    return said


def _answer(desk: Desk, said: dict[str, Any]) -> dict[str, Any]:
    return desk.answer(
        number_in(said, "place"), _name(said), _text(said, "said"), _text(said, "sent")
    )


def _undo(desk: Desk, said: dict[str, Any]) -> dict[str, Any]:
    return desk.undo(_name(said), number_in(said, "number"))


def _outline(desk: Desk, said: dict[str, Any]) -> dict[str, Any]:
    return desk.draw(number_in(said, "place"), _name(said), said, _text(said, "sent"))


def _erase(desk: Desk, said: dict[str, Any]) -> dict[str, Any]:
    return desk.erase(_name(said), number_in(said, "number"))


def _name(said: Any) -> str:  # noqa: ANN401  a mapping of whatever a browser sends
    return _text(said, "annotator").strip()


def _text(said: Any, key: str) -> str:  # noqa: ANN401
    value = said.get(key)
    if not isinstance(value, str) or not value:
        raise ConfigError(f"What was sent has no {key}; load the page again.")
    return value
