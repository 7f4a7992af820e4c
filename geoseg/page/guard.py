"""Who may ask the server of a page, and what a browser may do with what it gets."""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
import socket
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from starlette.datastructures import MutableHeaders
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response

from geoseg.page.policy import SERVED

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

__all__ = ["Guard", "is_loopback"]

_HEADERS = {
    "Content-Security-Policy": SERVED,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
}
_KEPT_S = 12 * 3600  # of a working day


class Guard:
    """Lets through what comes from the page itself, and puts a browser's safeguards on answers.

    - The Host must be a name of this machine or an address: another name leads here only when
      somebody has rebound it in DNS, to let his own page ask.
    - What changes anything must come from the page (Origin).
    - With a token, every request must bring it: as `?token=` of the first page, which puts it into
      a cookie, in that cookie, or as `Authorization: Bearer`.
    """

    def __init__(self, app: ASGIApp, *, host: str, token: str | None) -> None:
        self._app = app
        self._token = token
        names = {"localhost", host.lower()}
        if not is_loopback(host):
            names |= {socket.gethostname().lower(), socket.getfqdn().lower()}
        self._names = names
        # Servers on other ports of this host share its cookies.
        self._cookie = f"geoseg_{hashlib.sha256((token or '').encode()).hexdigest()[:8]}"

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer or refuse one request."""
        if scope["type"] != "http":
            return

        async def send_guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers.update(_HEADERS)
                headers.setdefault("Cache-Control", "no-store")
            await send(message)

        answer = self._answer(Request(scope))
        await (self._app if answer is None else answer)(scope, receive, send_guarded)

    def _answer(self, request: Request) -> Response | None:
        """What is answered at the door; None for who may come in."""
        if not self._is_this_machine(request.headers.get("host", "")):
            return _refused(421, "This is not the address that the page is served under.")
        if request.method not in {"GET", "HEAD"} and not _from_the_page(request):
            return _refused(403, "Only the page itself may change anything.")
        if self._token is None:
            return None
        given = request.query_params.get("token")
        if given is not None and self._is_token(given) and request.url.path == "/":
            welcome = RedirectResponse("/", status_code=303)
            welcome.set_cookie(
                self._cookie, given, max_age=_KEPT_S, httponly=True, samesite="lax", path="/"
            )
            return welcome
        bearer = request.headers.get("authorization", "").removeprefix("Bearer ")
        if self._is_token(request.cookies.get(self._cookie, "")) or self._is_token(bearer):
            return None
        return _refused(401, "Open the page by the address that geoseg printed.")

    def _is_token(self, given: str) -> bool:
        return hmac.compare_digest(given.encode(), (self._token or "").encode())

    def _is_this_machine(self, host: str) -> bool:
        name = _hostname(host) if _plain(host) else None
        return name is not None and (name in self._names or _is_address(name))


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches a host."""
    return host == "localhost" or (_is_address(host) and ipaddress.ip_address(host).is_loopback)


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def _plain(host: str) -> bool:
    """Whether it can be taken apart: nothing but names, addresses and ports."""
    return bool(host) and all(sign.isalnum() or sign in "-._:[]" for sign in host)


def _hostname(host: str) -> str | None:
    try:
        return urlsplit(f"//{host}").hostname
    except ValueError:  # half a pair of brackets
        return None


def _from_the_page(request: Request) -> bool:
    try:
        origin = urlsplit(request.headers.get("origin", ""))
    except ValueError:
        return False
    return bool(origin.netloc) and origin.netloc == request.headers.get("host")


def _refused(status: int, why: str) -> Response:
    return JSONResponse({"error": why}, status_code=status)
