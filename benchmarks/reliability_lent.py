"""Imported first: what benchmarks/reliability.py has of tests, where names are those of benchmarks.

Folders of tests are packages without a file that says so, and would lose against modules of the
same name: presence.py here, peers/scenes.py.
"""

from __future__ import annotations

import sys
from importlib import import_module
from pathlib import Path

HERE = Path(__file__).parent
TESTS = HERE.parent / "tests"

sys.path[:] = [path for path in sys.path if Path(path) != HERE]
sys.path[:0] = [str(TESTS), str(TESTS / "security"), str(TESTS / "report")]
import_module("parsers")
sys.path.insert(3, str(HERE))
