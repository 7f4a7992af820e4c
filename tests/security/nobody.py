"""A server that nobody should ask: it keeps what it was asked for."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from tempfile import TemporaryDirectory


class Nobody:
    def __init__(self, url: str, kept: Path) -> None:
        self.url, self._kept, self._last = url, kept, []

    @property
    def asked(self) -> list[str]:
        """What it was asked for, until it ended too."""
        if self._kept.exists():
            self._last = self._kept.read_text().splitlines()
        return self._last

    def forget(self) -> None:
        self._kept.write_text("")


@contextmanager
def listening() -> Iterator[Nobody]:
    with TemporaryDirectory() as folder:
        kept = Path(folder) / "asked.txt"
        kept.touch()
        # A process of its own: GDAL may wait for an answer while it holds the lock of this one.
        command = [sys.executable, __file__, str(kept)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
            nobody = Nobody(f"http://127.0.0.1:{server.stdout.readline().strip()}", kept)
            try:
                yield nobody
            finally:
                server.kill()
                server.wait()
                _ = nobody.asked


def serve(kept: Path) -> None:
    """Tell the port, then keep each request before it is answered."""

    class Keeper(BaseHTTPRequestHandler):
        def do_GET(self):
            with kept.open("a") as file:
                file.write(f"{self.path}\n")
            self.send_response(404)
            self.end_headers()

        do_HEAD = do_POST = do_GET  # noqa: N815  names of the standard library

        def log_message(self, *_):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Keeper) as server:
        sys.stdout.write(f"{server.server_port}\n")
        sys.stdout.flush()
        server.serve_forever()


if __name__ == "__main__":
    serve(Path(sys.argv[1]))
