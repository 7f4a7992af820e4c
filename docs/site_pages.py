"""What mkdocs adds to the pages of docs/: the recipes' own pages, and the reference, from the code.

Links that lead out of docs/ lead to the page of the site that such a file became.
"""

from __future__ import annotations

import base64
import importlib
import inspect
import json
import pkgutil
import posixpath
import re
from pathlib import Path
from typing import TYPE_CHECKING

from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File
from typer.cli import get_docs_for_click

from geoseg import cli

if TYPE_CHECKING:
    from mkdocs.config.defaults import MkDocsConfig
    from mkdocs.structure.files import Files
    from mkdocs.structure.pages import Page

__all__ = [
    "api_pages",
    "command_pages",
    "notebook_pages",
    "on_files",
    "on_page_markdown",
    "on_post_page",
    "public_modules",
]

_ROOT = Path(__file__).resolve().parents[1]
# Pages of the site that lie elsewhere in the repository.
_ELSEWHERE = {
    "recipes/glacier-inventory.md": "recipes/glacier_inventory/README.md",
    "recipes/thaw-slump.md": "recipes/thaw_slump/README.md",
    "recipes/pivot-landcover.md": "recipes/pivot_landcover/README.md",
    "recipes/active-labelling.md": "recipes/active_labelling/README.md",
    "changes.md": "CHANGELOG.md",
    "contributing.md": "CONTRIBUTING.md",
    "security.md": "SECURITY.md",
    "examples/index.md": "examples/README.md",
}
_NOTEBOOKS = {
    "examples/train-and-map.md": "examples/train_and_map.ipynb",
    "examples/track-inventories.md": "examples/track_inventories.ipynb",
    "examples/presence-and-labels.md": "examples/presence_and_labels.ipynb",
}
_SOURCES = {**_ELSEWHERE, **_NOTEBOOKS}
_LINK = re.compile(r"\[([^\]]*)\]\((?!https?:|#|mailto:)([^)\s#]+)(#[^)\s]*)?\)")
_FROM_ELSEWHERE = re.compile(
    r"""<(?:script|img|iframe|source|video)[^>]*\ssrc=["']?(?:https?:)?//[^>]*"""
    r"""|<link(?=[^>]*rel=["']?(?:stylesheet|preconnect|icon|preload))[^>]*href=["']?(?:https?:)?//[^>]*"""
)
_EXAMPLE = re.compile(r"^Example: (.*?)\n\n", re.DOTALL | re.MULTILINE)
_LISTED = re.compile(r"^\*\*Commands\*\*:\n\n(\* .*\n)*\n", re.MULTILINE)
_OF_GROUP = re.compile(r"```console\n\$ .* COMMAND \[ARGS\]\.\.\.\n```\n\n")
_VERBS = """# Single steps

Verbs that stand alone. Every command knows `--help`, and with `--debug` an error shows its
traceback. Exit code 0 is done, 1 failed, 2 wrong use.

"""

# Rooms of the API, from what a user calls first. Commands and what they print are not among them.
_ROOMS = (
    "scenes",
    "labels",
    "metrics",
    "sensors",
    "config",
    "chips",
    "models",
    "training",
    "inference",
    "vectorize",
    "mosaic",
    "inventory",
    "evaluation",
    "presence",
    "active",
    "pivot",
    "landcover",
    "scale",
    "data",
    "report",
)
_GROUND = ("errors", "grids", "views", "files", "blocks", "dates")  # modules below all rooms


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages that do not lie in docs/."""
    pages = {site: (_ROOT / path).read_text("utf-8") for site, path in _ELSEWHERE.items()}
    made = {**pages, **notebook_pages(), **command_pages(), **api_pages()}
    for name, content in made.items():
        files.append(File.generated(config, name, content=content))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:  # noqa: ARG001  mkdocs passes them by name
    """Links between files of the repository as links between pages of the site."""
    here = page.file.src_uri
    source = _SOURCES.get(here, f"docs/{here}")
    return _LINK.sub(lambda link: _relinked(link, here, source), markdown)


def on_post_page(output: str, page: Page, config: MkDocsConfig) -> str:  # noqa: ARG001  likewise
    """The page, if it loads nothing from elsewhere."""
    found = _FROM_ELSEWHERE.search(output)
    if found:
        raise PluginError(f"{page.file.src_uri} loads from another machine: {found.group()}")
    return output


def _relinked(link: re.Match[str], here: str, source: str) -> str:
    text, target, anchor = link.group(1), link.group(2), link.group(3) or ""
    path = posixpath.normpath(posixpath.join(posixpath.dirname(source), target))
    site = next((name for name, file in _SOURCES.items() if file == path), None)
    if site is None and path.startswith("docs/"):
        site = path.removeprefix("docs/")
    if site is None:
        return f"`{path}`" if (_ROOT / path).exists() else link.group()
    return f"[{text}]({posixpath.relpath(site, posixpath.dirname(here) or '.')}{anchor})"


def notebook_pages() -> dict[str, str | bytes]:
    """The notebooks with what they showed when they were run: pages, and their pictures."""
    made: dict[str, str | bytes] = {}
    for name, path in _NOTEBOOKS.items():
        cells = json.loads((_ROOT / path).read_text("utf-8"))["cells"]
        parts = []
        for number, cell in enumerate(cells):
            source = "".join(cell["source"])
            if cell["cell_type"] == "markdown":
                parts.append(source)
                continue
            parts.append(_code_of_cell(source))
            for output in cell["outputs"]:
                shown = output.get("data", {})
                if "image/png" in shown:
                    picture = f"{name.removesuffix('.md')}-{number}.png"
                    made[picture] = base64.b64decode(shown["image/png"])
                    parts.append(f"![Picture of the cell above]({posixpath.basename(picture)})")
                else:
                    text = "".join(output.get("text") or shown["text/plain"])
                    parts.append(f"```text\n{text.rstrip()}\n```")
        made[name] = "\n\n".join(parts) + "\n"
    return made


def _code_of_cell(source: str) -> str:
    """A cell as a block: of commands, a file, or Python."""
    first, _, rest = source.partition("\n")
    if first == "%%bash":
        return f"```sh\n{rest}\n```"
    if first.startswith("%%writefile "):
        return f'```yaml title="{first.split()[1]}"\n{rest}\n```'
    return f"```python\n{source}\n```"


def command_pages() -> dict[str, str]:
    """The command line: a page for each group of commands, one for the verbs that stand alone."""
    root = cli._command()
    context = root.make_context("geoseg", [], resilient_parsing=True)
    alone, pages = [], {}
    for name, command in sorted(root.commands.items()):
        text = get_docs_for_click(obj=command, ctx=context, name=name, call_prefix="geoseg")
        if hasattr(command, "commands"):
            pages[f"reference/cli/{name}.md"] = _as_page(text)
        else:
            alone.append("#" + _as_page(text))
    return {**pages, "reference/cli/verbs.md": _VERBS + "\n".join(alone)}


def _as_page(text: str) -> str:
    """Without what the navigation and each command say already, and with examples as code."""
    text = _LISTED.sub("", text).replace("* `--help`: Show this message and exit.\n", "")
    text = text.replace("**Options**:\n\n\n", "").replace("**Usage**:\n\n", "")
    text = _OF_GROUP.sub("", text).replace("```console\n$ ", "```text\n")
    return _EXAMPLE.sub(lambda one: f"    {' '.join(one.group(1).split())}\n\n", text)


def public_modules(room: str) -> list[str]:
    """The modules of a room that show its public names: itself, or those in it."""
    module = importlib.import_module(f"geoseg.{room}")
    if getattr(module, "__all__", None):
        return [module.__name__]
    found = []
    for below in pkgutil.iter_modules(module.__path__):
        if not below.name.startswith("_"):
            found += public_modules(f"{room}.{below.name}")
    return found


def api_pages() -> dict[str, str]:
    """A page for each room, of the names in `__all__`, for mkdocstrings to fill."""
    pages = {f"reference/api/{room}.md": _api_text(room, public_modules(room)) for room in _ROOMS}
    ground = [f"geoseg.{name}" for name in _GROUND]
    pages["reference/api/ground.md"] = _api_text("errors, grids, files", ground)
    return pages


def _api_text(title: str, names: list[str]) -> str:
    parts = [f"# {title}"]
    for name in names:
        module = importlib.import_module(name)
        parts.append(f"## {name}\n\n{inspect.cleandoc(module.__doc__ or '')}")
        named = ((public, getattr(module, public)) for public in module.__all__)
        parts += [f"::: {name}.{public}" for public, thing in named if _is_told(thing)]
    return "\n\n".join(parts) + "\n"


def _is_told(thing: object) -> bool:
    """Functions and classes; the docs of constants are comments, which no page shows."""
    return inspect.isroutine(thing) or inspect.isclass(thing)
