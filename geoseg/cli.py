"""`geoseg`: the recipes, found through their entry points, and the verbs that they share."""

from __future__ import annotations

import sys
from functools import cache
from importlib.metadata import entry_points
from typing import TYPE_CHECKING, Annotated

import typer

from geoseg import __version__
from geoseg.commands.active import active_app
from geoseg.commands.catalog import catalog_app
from geoseg.commands.compare import compare
from geoseg.commands.data import data_app
from geoseg.commands.inventory import export, track
from geoseg.commands.maps import export_onnx, mosaic, predict, vectorize
from geoseg.commands.options import Json
from geoseg.commands.pivot import pivot_app
from geoseg.commands.prepare import catalog_prepare
from geoseg.commands.presence import presence_app
from geoseg.commands.report import report
from geoseg.commands.schema import schema
from geoseg.commands.sensors import sensors_app
from geoseg.commands.view import view
from geoseg.commands.work import plan, retry, status, verify
from geoseg.errors import GeosegError
from geoseg.terminal import Outcome, Table, note, show

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["app", "main"]

app = typer.Typer(
    name="geoseg",
    help="Outlines of glaciers, lakes and thaw slumps that can be compared across sensors.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.add_typer(sensors_app, name="sensors")
app.add_typer(data_app, name="data")
catalog_app.command("prepare")(catalog_prepare)
app.add_typer(catalog_app, name="catalog")
app.add_typer(presence_app, name="presence")
app.add_typer(pivot_app, name="pivot")
app.add_typer(active_app, name="active")
for verb in (
    predict,
    mosaic,
    vectorize,
    track,
    report,
    view,
    export,
    export_onnx,
    compare,
    schema,
    status,
    verify,
    retry,
    plan,
):
    app.command()(verb)


def main() -> None:
    """Run the command line: an error is one sentence and an exit code, unless --debug is given."""
    debug = "--debug" in sys.argv
    arguments = [a for a in sys.argv[1:] if a != "--debug"]
    try:
        _command()(args=arguments)
    except GeosegError as error:
        if debug:
            raise
        note(f"Error: {error}")
        sys.exit(error.exit_code)
    except Exception as error:
        if debug:
            raise
        note(f"Error: unexpected {type(error).__name__}: {error}. Run again with --debug.")
        sys.exit(1)


@cache  # once: who calls `main` again would have the recipes twice, and wait the longer each time
def _command() -> Callable[..., object]:
    for recipe in entry_points(group="geoseg.recipes"):
        app.add_typer(recipe.load(), name=recipe.name)
    return typer.main.get_command(app)


def _print_version(wanted: bool) -> None:
    if wanted:
        sys.stdout.write(f"geoseg {__version__}\n")
        raise typer.Exit


@app.callback()
def _root(
    _version: Annotated[
        bool,
        typer.Option("--version", callback=_print_version, is_eager=True, help="Show the version."),
    ] = False,
    _debug: Annotated[
        bool, typer.Option("--debug", help="Show the traceback of an error.")
    ] = False,
) -> None:
    pass


@app.command()
def doctor(json: Json = False) -> None:
    """Say what geoseg found on this machine.

    Example: geoseg doctor
    """
    from geoseg.doctor import examine

    findings = examine()
    table = Table("geoseg doctor", ("what", "found"), list(findings.items()))
    show(Outcome(findings, (table,)), as_json=json)
