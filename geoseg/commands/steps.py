"""A command from a step of a recipe: all of a recipe have the same options."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Annotated, Any, TypeVar, get_type_hints

import typer

from geoseg.terminal import note, show

if TYPE_CHECKING:
    from collections.abc import Callable

    from geoseg.terminal import Outcome

__all__ = ["step_command"]

Run = TypeVar("Run")


def step_command(
    open_run: Callable[..., Run],
) -> Callable[[Callable[[Run], Outcome]], Callable[..., None]]:
    """A decorator that makes a command of a step of a recipe.

    The command has the options of `open_run` and --json; it shows the outcome of the step, and says
    how to go on when it is stopped by Ctrl-C.

    Args:
        open_run: its parameters are the options, annotated as typer takes them; gives the run that
            they name. What it gives is annotated as `Run`.
    """
    # The run itself is heavy to import and no option.
    hints = get_type_hints(open_run, localns={"Run": object}, include_extras=True)
    shared = [
        parameter.replace(annotation=hints[name])
        for name, parameter in inspect.signature(open_run).parameters.items()
    ]
    as_json = inspect.Parameter(
        "json",
        inspect.Parameter.KEYWORD_ONLY,
        default=False,
        annotation=Annotated[bool, typer.Option("--json", help="Print one JSON object.")],
    )
    options = [*shared, as_json]

    def command_of(work: Callable[[Run], Outcome]) -> Callable[..., None]:
        def command(*, json: bool, **given: Any) -> None:  # noqa: ANN401  typer passes them by name
            try:
                show(work(open_run(**given)), as_json=json)
            except KeyboardInterrupt:
                note("Stopped. Run the same command again to go on.")
                raise typer.Exit(130) from None

        command.__signature__ = inspect.Signature(options)  # type: ignore[attr-defined]
        command.__annotations__ = {option.name: option.annotation for option in options}
        command.__doc__, command.__name__ = work.__doc__, work.__name__
        return command

    return command_of
