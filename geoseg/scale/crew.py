"""Those who do units: they take some, and tell which have ended."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from geoseg.errors import ConfigError
from geoseg.scale.unit import Attempt, Unit, attempt

if TYPE_CHECKING:
    from collections.abc import Callable

    from geoseg.scale.manifest import Manifest

__all__ = ["Crew", "Lost", "Serial", "not_sent"]


class Lost:
    """A unit whose worker died over it, so often."""

    def __init__(self, name: str, error: str, *, times: int = 1) -> None:
        self.name, self.error, self.times = name, error, times


class Crew(Protocol):
    """Those who do units.

    Raises:
        ConfigError: the work, or sooner or later the argument of a unit, cannot be sent to them.
    """

    @property
    def room(self) -> int:
        """How many units it holds at a time, at least 1."""

    def take(self, unit: Unit) -> None:
        """Begin a unit; there is room for it."""

    def ended(self, timeout_s: float) -> list[Attempt | Lost]:
        """Those that have ended; waits for the first of them, but not for longer than that."""

    def stop(self) -> None:
        """End all workers, and with them what they are doing."""


def not_sent(what: str, error: Exception) -> ConfigError:
    """Of the work, or the argument of a unit, that cannot be pickled."""
    return ConfigError(
        f"{what} cannot be sent to a worker: {error.__cause__ or error}; give work at the top "
        "level of a module, and arguments that can be pickled."
    )


class Serial:
    """This process."""

    room = 1

    def __init__(self, work: Callable[[Any], Any], manifest: Manifest) -> None:
        self._work, self._manifest = work, manifest
        self._units: list[Unit] = []

    def take(self, unit: Unit) -> None:
        """Keep it; it is done when it is asked for."""
        self._units.append(unit)

    def ended(self, timeout_s: float) -> list[Attempt | Lost]:  # noqa: ARG002  nobody else works
        """Do what was taken."""
        units, self._units = self._units, []
        return [self._attempt(unit) for unit in units]

    def stop(self) -> None:
        """Nobody to end."""

    def _attempt(self, unit: Unit) -> Attempt:
        self._manifest.take_up(unit.name)
        try:
            return attempt(self._work, unit, self._manifest.fence)
        finally:  # alive, after Ctrl-C too
            self._manifest.lay_down(unit.name)
