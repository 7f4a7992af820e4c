"""The server of a page: its files, its addresses, its errors."""

from __future__ import annotations

import secrets
import socket
from importlib.resources import files
from typing import TYPE_CHECKING, Any

import uvicorn
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from geoseg.errors import ConfigError, GeosegError, LabelError
from geoseg.files import without_nan
from geoseg.page.guard import Guard, is_loopback
from geoseg.page.missing import NotThereError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from starlette.requests import Request

__all__ = ["KEEP", "local_app", "number_in", "serve_app", "told"]

KEEP = "private, max-age=86400, immutable"  # of what never changes under its address
_SHARED = {"base.css": "text/css", "build.js": "text/javascript"}
_LEAVE_S = 2  # for answers on their way, when the server is stopped
_LONGEST = 9  # digits of a number


def local_app(
    routes: Sequence[Route],
    *,
    package: str,
    parts: Mapping[str, str],
    host: str,
    token: str | None,
) -> Starlette:
    """An application that serves a page, behind `Guard`.

    Args:
        routes: beside those of the files of the page.
        package: in whose folder `static` the files lie, index.html among them.
        parts: media types of these files by name; none but these are served, and those that pages
            share.
        host: that it is bound to.
        token: that every request must bring; anyone who reaches the host may ask when None.
    """
    return Starlette(
        routes=[
            Route("/", _file(package, "index.html", "text/html")),
            Route("/favicon.ico", _nothing),
            *(Route(f"/static/{n}", _file(package, n, kind)) for n, kind in parts.items()),
            *(Route(f"/static/{n}", _file("geoseg.page", n, kind)) for n, kind in _SHARED.items()),
            *routes,
        ],
        middleware=[Middleware(Guard, host=host, token=token)],
        exception_handlers={
            GeosegError: _sorry,
            NotThereError: _not_there,
            404: _not_there,
            Exception: _failed,
        },
    )


def serve_app(
    make_app: Callable[[str | None], Starlette],
    *,
    host: str,
    port: int,
    on_ready: Callable[[str], None],
) -> None:
    """Serve a page until the process is interrupted.

    A host that others reach gets a token, which is part of the address that is told.

    Args:
        make_app: gives the application for a token.
        host: to bind to.
        port: to bind to; one that is free when 0.
        on_ready: is told the address to open, when it can be.

    Raises:
        ConfigError: the port is taken, or the host cannot be bound to.
        KeyboardInterrupt: when the process is interrupted.
    """
    token = None if is_loopback(host) else secrets.token_urlsafe(24)
    app = make_app(token)
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


def told(ask: Callable[[Request], dict[str, Any]]) -> Callable[[Request], Response]:
    """An answer in JSON, in which NaN is null."""

    def answer(request: Request) -> Response:
        return JSONResponse(without_nan(ask(request)))

    return answer


def number_in(said: Any, key: str) -> int:  # noqa: ANN401  a mapping of whatever a browser sends
    """A whole number, 0 or more, of what was sent.

    Raises:
        NotThereError: it has no such number.
    """
    value = said.get(key)
    text = str(value) if type(value) is int or isinstance(value, str) else ""
    if not (text.isascii() and text.isdigit() and len(text) <= _LONGEST):
        raise NotThereError
    return int(text)


def _file(package: str, name: str, kind: str) -> Callable[[Request], Response]:
    def answer(_: Request) -> Response:
        content = (files(package) / "static" / name).read_bytes()
        return Response(content, media_type=kind)

    return answer


def _nothing(_: Request) -> Response:
    return Response(status_code=204)


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


def _sorry(_: Request, error: Exception) -> Response:
    """What is wrong, in its sentence; 400 where the same once more would be as wrong."""
    status = 400 if isinstance(error, ConfigError | LabelError) else 500
    return JSONResponse({"error": str(error)}, status_code=status)


def _failed(_: Request, _error: Exception) -> Response:
    """What the page is told of a fault of geoseg, whose traceback the terminal shows."""
    why = "geoseg failed at this; the terminal where it was started says why."
    return JSONResponse({"error": why}, status_code=500, headers={"Cache-Control": "no-store"})


def _not_there(_: Request, _error: Exception) -> Response:
    return JSONResponse({"error": "There is no such thing here."}, status_code=404)
