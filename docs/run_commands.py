"""Run the blocks of Markdown pages as a reader would, in one folder, one page after the other.

    python docs/run_commands.py --into out/commands --lend out/run README.md docs/start.md

Indented blocks and ```sh are commands, run line by line. ```python is run too. A fence with a
title, ```yaml title="mine.yaml", is a file and is written. All else is shown and not run. What is
said of a block stands before it in comments:

    <!-- not run: needs Slurm -->             left out, for that reason
    <!-- needs GEOSEG_DATA_MIRROR -->         left out where this variable is not set
    <!-- run with: --set training.steps=20 -->  each command gets these arguments too
    <!-- first: cp a b -->                    run before it: makes what a reader has of his own

`pip install .` is left out: geoseg is installed where its pages are run.
"""

from __future__ import annotations

import argparse
import os
import re
import shlex
import signal
import subprocess
import sys
import threading
import time
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from markdown_it import MarkdownIt

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from markdown_it.token import Token

__all__ = ["Block", "Command", "commands_of", "read_blocks", "run_pages"]

_SHELL = frozenset({"", "sh", "bash"})
_TITLE = re.compile(r'title="([^"]+)"')
_COMMENT = re.compile(r"<!--\s*(not run:|needs|run with:|first:)\s*(.+?)\s*-->", re.DOTALL)
_END = re.compile(r"\s+#\s.*$")  # a comment
_ADDRESS = re.compile(r"http://[^\s]+")
# They end when they are stopped: they have worked when their page can be fetched.
_SERVES = ("geoseg active serve", "geoseg view")
_INSTALL = "pip install ."
_BASH = ("bash", "-euo", "pipefail", "-c")
_LONGEST_S = 900


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """A block of code of a page."""

    page: str
    line: int  # from 1, of its first line of code
    language: str  # of its fence; empty for an indented block
    text: str
    title: str | None  # of the file that it is
    reason: str | None  # why it is not run
    needs: str | None  # the variable without which it is not run
    arguments: str  # that each command gets when it is run
    first: str  # run before it

    @property
    def is_shell(self) -> bool:
        """Whether its lines are commands."""
        return self.language in _SHELL and self.title is None

    @property
    def is_run(self) -> bool:
        """Whether there is anything to do but to show it."""
        return self.title is not None or self.is_shell or self.language == "python"


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """A command, lines that go on joined."""

    line: int
    text: str


class CommandError(Exception):
    """A block did not do what its page says."""


def read_blocks(text: str, page: str) -> Iterator[Block]:
    """The blocks of code of a page, in their order."""
    before: list[Token] = []
    for token in MarkdownIt().parse(text):
        if token.type == "html_block":
            before.append(token)
        elif token.type in ("fence", "code_block"):
            yield _block(token, before, page)
            before = []
        elif not token.type.endswith("_close"):  # text lies between the comment and the block
            before = []


def _block(token: Token, before: Iterable[Token], page: str) -> Block:
    said = dict(found for one in before for found in _COMMENT.findall(one.content))
    language, _, rest = token.info.strip().partition(" ")
    title = _TITLE.search(rest)
    first = (token.map or [0, 0])[0] + (2 if token.type == "fence" else 1)
    return Block(
        page=page,
        line=first,
        language=language,
        text=token.content,
        title=title and title.group(1),
        reason=said.get("not run:"),
        needs=said.get("needs"),
        arguments=said.get("run with:", ""),
        first=said.get("first:", ""),
    )


def commands_of(block: Block) -> Iterator[Command]:
    """The commands of a block of shell."""
    joined, begun = "", block.line
    for number, line in enumerate(block.text.splitlines(), start=block.line):
        if not joined:
            begun = number
        joined += line.strip()
        if joined.endswith("\\"):
            joined = joined[:-1]
            continue
        try:
            words = shlex.split(joined, comments=True)
        except ValueError:  # a quotation goes on
            joined += "\n"
            continue
        if words:
            yield Command(line=begun, text=joined)
        joined = ""
    if joined:
        raise CommandError(f"{block.page}:{begun}: a command that does not end: {joined}")


def run_pages(pages: Iterable[Path], root: Path, folder: Path) -> list[str]:
    """Run what the pages hold; what was left out, and why.

    A command that another page had already is not run again.

    Args:
        pages: Markdown files, below `root`.
        root: what their names in messages are relative to.
        folder: where commands are run.

    Raises:
        CommandError: the first command that failed, with its page and line.
    """
    left_out: list[str] = []
    done: dict[str, str] = {}
    for page in pages:
        name = str(page.resolve().relative_to(root))
        for block in read_blocks(page.read_text(encoding="utf-8"), name):
            reason = _why_not(block)
            if reason is not None:
                left_out.append(f"{name}:{block.line}: {reason}")
            elif block.is_run:
                _run_block(block, folder, done)
    return left_out


def _why_not(block: Block) -> str | None:
    if block.reason is not None:
        return block.reason
    if block.needs is not None and not os.environ.get(block.needs):
        return f"needs {block.needs}"
    return None


def _run_block(block: Block, folder: Path, done: dict[str, str]) -> None:
    where = f"{block.page}:{block.line}"
    if block.first:
        _run([*_BASH, block.first], folder, where, "what the reader has")
    if block.title is not None:
        path = folder / block.title
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(block.text, encoding="utf-8")
        _say(f"{where}: wrote {block.title}")
    elif block.language == "python":
        _run([sys.executable, "-c", block.text], folder, where, "Python")
    else:
        for command in commands_of(block):
            where = f"{block.page}:{command.line}"
            words = " ".join(shlex.split(command.text, comments=True))
            if done.setdefault(words, block.page) != block.page or words == _INSTALL:
                continue
            if words.startswith(_SERVES):
                _fetch_served(words, folder, where)
            else:
                text = _with_arguments(command.text, block.arguments)
                _run([*_BASH, text], folder, where, text)


def _with_arguments(text: str, arguments: str) -> str:
    """A command with further arguments, which a comment at its end would hide."""
    return " ".join([_END.sub("", text), arguments]) if arguments else text


def _run(words: list[str], folder: Path, where: str, shown: str) -> None:
    """Run it; what it prints is shown where it failed."""
    begun, used = time.monotonic(), _children_s()
    ran = subprocess.run(
        words,
        cwd=folder,
        env=_environment(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=_LONGEST_S,
        check=False,
    )
    if ran.returncode != 0:
        raise CommandError(f"{where}: exit code {ran.returncode}: {shown}\n{ran.stdout}")
    wall, cpu = time.monotonic() - begun, _children_s() - used
    _say(f"{where}: {wall:.1f} s, CPU {cpu:.1f} s  {shown}")


def _children_s() -> float:
    """CPU seconds of all that was run so far."""
    used = os.times()
    return used.children_user + used.children_system


def _fetch_served(command: str, folder: Path, where: str) -> None:
    """Start what serves a page, fetch it from the address that is printed, and stop it."""
    words = [*shlex.split(command), "--port", "0"]
    server = subprocess.Popen(
        words,
        cwd=folder,
        env=_environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert server.stdout is not None
    printed = ""
    too_long = threading.Timer(_LONGEST_S, server.kill)
    too_long.start()
    try:
        for line in server.stdout:
            printed += line
            address = _ADDRESS.search(line)
            if address:
                with urllib.request.urlopen(address.group().rstrip(".,;"), timeout=60) as page:
                    _say(f"{where}: served {len(page.read())} bytes  {command}")
                return
        raise CommandError(f"{where}: printed no address: {command}\n{printed}")
    finally:
        too_long.cancel()
        server.send_signal(signal.SIGINT)
        server.communicate(timeout=60)


def _environment() -> Mapping[str, str]:
    """That of the reader, with the commands of this Python first and wide tables."""
    # Not resolved: the Python of a virtual environment is a link out of it.
    tools = str(Path(sys.executable).parent)
    path = os.pathsep.join((tools, os.environ.get("PATH", os.defpath)))
    return {**os.environ, "PATH": path, "COLUMNS": "100", "PYTHONUNBUFFERED": "1"}


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def _lend(root: Path, folder: Path, paths: Iterable[str]) -> None:
    """Links to what the commands need of the checkout, at the same place in the folder."""
    for name in paths:
        link = folder / name
        link.parent.mkdir(parents=True, exist_ok=True)
        link.unlink(missing_ok=True)
        link.symlink_to((root / name).resolve(strict=True))


def main() -> int:
    """Run the pages that are named; exit code 1 at the first command that fails."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("pages", nargs="+", type=Path)
    parser.add_argument("--into", type=Path, required=True, help="folder to run them in")
    parser.add_argument("--lend", action="append", default=[], help="path linked into the folder")
    given = parser.parse_args()
    root = Path(__file__).resolve().parents[1]
    given.into.mkdir(parents=True, exist_ok=True)
    _lend(root, given.into, given.lend)
    begun = time.monotonic()
    try:
        left_out = run_pages(given.pages, root, given.into.resolve())
    except CommandError as failed:
        sys.stderr.write(f"{failed}\n")
        return 1
    for one in left_out:
        _say(f"left out: {one}")
    _say(f"{time.monotonic() - begun:.0f} s, {len(left_out)} blocks left out")
    return 0


if __name__ == "__main__":
    sys.exit(main())
