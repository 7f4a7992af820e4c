"""`geoseg schema`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from geoseg.terminal import Outcome, Table, note, show

__all__ = ["schema"]


def schema(
    recipe: Annotated[
        str | None, typer.Argument(help="A command that reads recipes; all are listed without it.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="The file to write, beside your recipe; shown without it.")
    ] = None,
) -> None:
    """Write the JSON schema of a recipe, by which an editor completes, explains and checks keys.

    Example: geoseg schema glacier-inventory --out glacier-inventory.schema.json
    """
    from json import dumps

    from geoseg.config import find_kinds, schema_by_name
    from geoseg.errors import ConfigError
    from geoseg.files import write_text

    if recipe is None:
        if out is not None:
            known = ", ".join(find_kinds())
            raise ConfigError(f"--out {out} is for the schema of one recipe; name it: {known}.")
        rows = [(name, kind.value) for name, kind in find_kinds().items()]
        show(Outcome({}, (Table("Recipes", ("of", "kind"), rows),)), as_json=False)
        return
    text = dumps(schema_by_name(recipe), indent=2) + "\n"
    if out is None:
        typer.echo(text, nl=False)
        return
    write_text(out, text)
    note(f"{out} is written; begin a recipe beside it with")
    note(f"# yaml-language-server: $schema={out.name}")
