"""`geoseg presence`: chips in, who holds what is looked for out."""

from __future__ import annotations

import typer

from geoseg.commands.presence.embed import embed
from geoseg.commands.presence.first import first
from geoseg.commands.presence.head import head
from geoseg.commands.presence.heat import heat
from geoseg.commands.presence.outline import outline
from geoseg.commands.presence.pack import pack
from geoseg.commands.presence.predict import predict
from geoseg.commands.presence.queue import queue
from geoseg.commands.presence.reduce import reduce
from geoseg.commands.presence.report import report
from geoseg.commands.presence.score import score

__all__ = ["presence_app"]

presence_app = typer.Typer(
    no_args_is_help=True,
    help="Which of many image chips hold something, how sure that is, and since when.",
)
presence_app.command()(embed)
presence_app.command()(first)
presence_app.command()(head)
presence_app.command()(heat)
presence_app.command()(outline)
presence_app.command()(pack)
presence_app.command()(predict)
presence_app.command()(queue)
presence_app.command()(reduce)
presence_app.command()(report)
presence_app.command()(score)
