"""The server of the page to label on."""

from __future__ import annotations

import json
import secrets
import socket
from importlib.resources import files
from typing import TYPE_CHECKING, Any

import uvicorn
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.middleware import Middleware
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from geoseg.active.page.desk import Desk, NotThereError
from geoseg.active.page.guard import Guard, is_loopback
from geoseg.errors import ConfigError, GeosegError, LabelError
from geoseg.files import without_nan

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from starlette.requests import Request

__all__ = ["make_app", "serve"]

_STATIC = {  # what is served, and nothing else
    "page.css": "text/css",
    "main.js": "text/javascript",
    "api.js": "text/javascript",
    "build.js": "text/javascript",
    "place.js": "text/javascript",
    "lapse.js": "text/javascript",
    "outline.js": "text/javascript",
}
_MOST_BYTES = 2**20  # of what a page sends: an outline of 20,000 corners
_LEAVE_S = 2  # for answers on their way, when the server is stopped
_KEEP = "private, max-age=86400, immutable"  # pictures: their address tells project and pack
_LONGEST = 9  # digits of a number


def make_app(desk: Desk, *, host: str = "127.0.0.1", token: str | None = None) -> Starlette:
    """The application.

    Args:
        desk: what it serves.
        host: that it is bound to.
        token: that every request must bring; anyone who reaches the host may ask when None.
    """
    return Starlette(
        routes=[
            Route("/", _front),
            Route("/favicon.ico", _nothing),
            Route("/static/{name}", _static),
            Route("/place/{edition}/{number}.geojson", _points(desk)),
            Route("/picture/{edition}/{number}/{image}/{composition}.png", _pictures(desk)),
            Route("/api/about", _told(lambda _: desk.about())),
            Route("/api/queue", _told(lambda r: desk.queue(_name(r.query_params)))),
            Route(
                "/api/place",
                _told(lambda r: desk.place(_number(r.query_params, "n"), _name(r.query_params))),
            ),
            Route("/api/answer", _taken(desk, _answer), methods=["POST"]),
            Route("/api/undo", _taken(desk, _undo), methods=["POST"]),
            Route("/api/outline", _taken(desk, _outline), methods=["POST"]),
            Route("/api/erase", _taken(desk, _erase), methods=["POST"]),
        ],
        middleware=[Middleware(Guard, host=host, token=token)],
        exception_handlers={GeosegError: _sorry, NotThereError: _not_there},
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
    token = None if is_loopback(host) else secrets.token_urlsafe(24)
    app = make_app(desk, host=host, token=token)
    with _bound(host, port) as bound:
        config = uvicorn.Config(
            app,
            log_level="error",
            access_log=False,
            lifespan="off",
            ws="none",
            proxy_headers=False,
            server_header=False,
            timeout_graceful_shutdown=_LEAVE_S,
        )
        bound.listen()  # from now on a browser waits, and is not turned away
        on_ready(_address(host, bound.getsockname()[1], token))
        uvicorn.Server(config).run(sockets=[bound])


def _bound(host: str, port: int) -> socket.socket:
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        bound = socket.socket(family, kind, protocol)
    except OSError as error:
        raise ConfigError(f"--host {host} is no host of this machine ({error}).") from error
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind(address)
    except (OSError, OverflowError) as error:
        bound.close()
        raise ConfigError(
            f"Port {port} of {host} cannot be used ({getattr(error, 'strerror', error)}); give "
            "another --port, or 0 for one that is free."
        ) from error
    return bound


def _address(host: str, port: int, token: str | None) -> str:
    name = socket.gethostname() if host in {"0.0.0.0", "::"} else host
    name = f"[{name}]" if ":" in name else name
    return f"http://{name}:{port}/" + ("" if token is None else f"?token={token}")


async def _front(_: Request) -> Response:
    return _file("index.html", "text/html")


async def _static(request: Request) -> Response:
    name = request.path_params["name"]
    if name not in _STATIC:
        raise NotThereError
    return _file(name, _STATIC[name])


async def _nothing(_: Request) -> Response:
    return Response(status_code=204)


def _file(name: str, kind: str) -> Response:
    return Response((files(__package__) / "static" / name).read_bytes(), media_type=kind)


def _pictures(desk: Desk) -> Callable[[Request], Response]:
    def answer(request: Request) -> Response:
        asked = request.path_params
        if asked["edition"] != desk.edition:
            raise NotThereError
        number, image = _number(asked, "number"), _number(asked, "image")
        found = desk.picture(number, image, asked["composition"])
        return Response(found, media_type="image/png", headers={"Cache-Control": _KEEP})

    return answer


def _points(desk: Desk) -> Callable[[Request], Response]:
    def answer(request: Request) -> Response:
        asked = request.path_params
        number = _number(asked, "number")
        if asked["edition"] != desk.edition:
            raise NotThereError
        name = f'attachment; filename="place-{number}.geojson"'
        return JSONResponse(
            desk.point(number),
            media_type="application/geo+json",
            headers={"Content-Disposition": name},
        )

    return answer


def _told(ask: Callable[[Request], dict[str, Any]]) -> Callable[[Request], Response]:
    def answer(request: Request) -> Response:
        return JSONResponse(without_nan(ask(request)))

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
        _number(said, "place"), _name(said), _text(said, "said"), _text(said, "sent")
    )


def _undo(desk: Desk, said: dict[str, Any]) -> dict[str, Any]:
    return desk.undo(_name(said), _number(said, "number"))


def _outline(desk: Desk, said: dict[str, Any]) -> dict[str, Any]:
    return desk.draw(_number(said, "place"), _name(said), said, _text(said, "sent"))


def _erase(desk: Desk, said: dict[str, Any]) -> dict[str, Any]:
    return desk.erase(_name(said), _number(said, "number"))


def _name(said: Any) -> str:  # noqa: ANN401  a mapping of whatever a browser sends
    return _text(said, "annotator").strip()


def _text(said: Any, key: str) -> str:  # noqa: ANN401
    value = said.get(key)
    if not isinstance(value, str) or not value:
        raise ConfigError(f"What was sent has no {key}; load the page again.")
    return value


def _number(said: Any, key: str) -> int:  # noqa: ANN401
    value = said.get(key)
    text = str(value) if type(value) is int or isinstance(value, str) else ""
    if not (text.isascii() and text.isdigit() and len(text) <= _LONGEST):
        raise NotThereError
    return int(text)


def _sorry(_: Request, error: Exception) -> Response:
    """What is wrong, in its sentence; 400 where the same once more would be as wrong."""
    status = 400 if isinstance(error, ConfigError | LabelError) else 500
    return JSONResponse({"error": str(error)}, status_code=status)


def _not_there(_: Request, _error: Exception) -> Response:
    return JSONResponse({"error": "There is no such thing here."}, status_code=404)
