"""A server that nobody should ask: it keeps what it was asked for."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import NamedTuple


class Nobody(NamedTuple):
    url: str
    asked: list[str]


@contextmanager
def listening() -> Iterator[Nobody]:
    asked: list[str] = []

    class Keeper(BaseHTTPRequestHandler):
        def do_GET(self):
            asked.append(self.path)
            self.send_response(404)
            self.end_headers()

        do_HEAD = do_POST = do_GET  # noqa: N815  names of the standard library

        def log_message(self, *_):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Keeper) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield Nobody(f"http://127.0.0.1:{server.server_port}", asked)
        server.shutdown()
        thread.join()
