"""The command line, in a process of its own or in this one."""

from __future__ import annotations

import contextlib
import io
import os
import subprocess
import sys
from pathlib import Path

from geoseg.cli import main

_LONGEST_S = 600  # what hangs is a failure, and holds up no other test
GEOSEG = str(Path(sys.executable).with_name("geoseg"))


def geoseg(*arguments, cwd=None, **environment):
    """Run it as a user does."""
    return subprocess.run(
        [GEOSEG, *map(str, arguments)],
        capture_output=True,
        text=True,
        cwd=cwd,
        env={**os.environ, "COLUMNS": "100", **environment},
        timeout=_LONGEST_S,
        check=False,
    )


def geoseg_here(*arguments, cwd=None):
    """Run it without a process of its own: to start one and import torch there takes seconds."""
    out, err, argv = io.StringIO(), io.StringIO(), sys.argv
    sys.argv = [GEOSEG, *map(str, arguments)]
    try:
        with (
            contextlib.chdir(cwd or Path.cwd()),
            contextlib.redirect_stdout(out),
            contextlib.redirect_stderr(err),
        ):
            main()
        code = 0
    except SystemExit as end:
        code = end.code or 0
    finally:
        sys.argv = argv
    return subprocess.CompletedProcess(arguments, code, out.getvalue(), err.getvalue())
