"""`geoseg active`: labels that help most, asked for, given and learned from."""

from __future__ import annotations

import typer

from geoseg.commands.active.serve import serve

__all__ = ["active_app"]

active_app = typer.Typer(
    no_args_is_help=True,
    help="Ask for the labels that help most, take them in and learn from them.",
)
active_app.command()(serve)
