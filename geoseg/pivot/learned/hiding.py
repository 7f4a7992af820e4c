"""Which acquisitions are hidden for a network to predict them: at random, gaps, or a sensor.

After the protocol of Michel and Inglada 2025 (Remote Sensing of Environment), TAMRF-SITS.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from geoseg.errors import SceneError

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np

    from geoseg.pivot.measurement.acquisition import Acquisition

__all__ = ["Hiding", "hide"]

_AT_RANDOM, _GAPS = 0.6, 0.25  # of the times; else a sensor
_SHARE = (0.15, 0.5)
_GAP_DAYS = (20.0, 50.0)
_GAPS_A_YEAR = 3.0


class Hiding(NamedTuple):
    """Acquisitions in two parts, none of them empty."""

    seen: tuple[Acquisition, ...]
    hidden: tuple[Acquisition, ...]


def hide(acquisitions: Sequence[Acquisition], rng: np.random.Generator) -> Hiding:
    """Some of two or more acquisitions.

    Raises:
        SceneError: there are less than two.
    """
    if len(acquisitions) < 2:
        raise SceneError(
            f"An episode has {len(acquisitions)} acquisitions, of which none can be hidden; give "
            "two or more."
        )
    drawn = rng.uniform()
    if drawn < _AT_RANDOM:
        chosen = _at_random(acquisitions, rng)
    elif drawn < _AT_RANDOM + _GAPS:
        chosen = _in_gaps(acquisitions, rng)
    else:
        chosen = _of_one_sensor(acquisitions, rng)
    if not 0 < len(chosen) < len(acquisitions):
        chosen = _at_random(acquisitions, rng)
    return Hiding(
        tuple(one for one in acquisitions if one.id not in chosen),
        tuple(one for one in acquisitions if one.id in chosen),
    )


def _at_random(acquisitions: Sequence[Acquisition], rng: np.random.Generator) -> set[str]:
    count = max(1, round(float(rng.uniform(*_SHARE)) * len(acquisitions)))
    places = rng.choice(len(acquisitions), min(count, len(acquisitions) - 1), replace=False)
    return {acquisitions[k].id for k in places}


def _in_gaps(acquisitions: Sequence[Acquisition], rng: np.random.Generator) -> set[str]:
    days = [one.day for one in acquisitions]
    first, last = min(days), max(days)
    gaps = max(1, round(_GAPS_A_YEAR * (last - first) / 365))
    begins = rng.uniform(first, last, gaps)
    ends = begins + rng.uniform(*_GAP_DAYS, gaps)
    return {one.id for one in acquisitions if any((begins <= one.day) & (one.day < ends))}


def _of_one_sensor(acquisitions: Sequence[Acquisition], rng: np.random.Generator) -> set[str]:
    sensors = sorted({one.sensor_id for one in acquisitions})
    chosen = sensors[rng.integers(len(sensors))]
    return {one.id for one in acquisitions if one.sensor_id == chosen}
