"""Options that several verbs share."""

from __future__ import annotations

from typing import Annotated

import typer

__all__ = [
    "Bands",
    "Changes",
    "Date",
    "Device",
    "Host",
    "Json",
    "Port",
    "Sensor",
    "require_encoder",
]

Json = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]
Sensor = Annotated[
    str | None, typer.Option(help="What took --scene: an id of `geoseg sensors list`.")
]
Bands = Annotated[
    str | None, typer.Option(help="Bands of --scene in their order: red,green,blue,nir08.")
]
Date = Annotated[str | None, typer.Option(help="Day on which --scene was taken (UTC): 2000-10-30.")]
Changes = Annotated[
    list[str] | None,
    typer.Option("--set", help="Change a key: training.steps=100, outlines.smooth=2. Repeatable."),
]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:1.")]
Port = Annotated[int, typer.Option(help="Of the page; 0: any that is free.", min=0, max=65535)]
Host = Annotated[
    str, typer.Option(help="Other than 127.0.0.1: others reach it, by a secret address.")
]


def require_encoder(name: str) -> None:
    """Refuse an encoder of a recipe that nobody has; what knows them all takes seconds to import.

    Raises:
        ModelError: so it is.
    """
    from geoseg.models import find_encoder

    find_encoder(name)
