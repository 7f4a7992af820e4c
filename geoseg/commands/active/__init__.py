"""`geoseg active`: labels that help most, asked for, given and learned from."""

from __future__ import annotations

import typer

from geoseg.commands.active.ingest import ingest
from geoseg.commands.active.init import init
from geoseg.commands.active.outlines import outlines
from geoseg.commands.active.propose import propose
from geoseg.commands.active.regions import regions
from geoseg.commands.active.serve import serve
from geoseg.commands.active.simulate import simulate
from geoseg.commands.active.status import status
from geoseg.commands.active.train import train

__all__ = ["active_app"]

active_app = typer.Typer(
    no_args_is_help=True,
    help="Ask for the labels that help most, take them in and learn from them.",
)
active_app.command()(ingest)
active_app.command()(init)
active_app.command()(outlines)
active_app.command()(propose)
active_app.command()(regions)
active_app.command()(serve)
active_app.command()(simulate)
active_app.command()(status)
active_app.command()(train)
