"""What an archive takes to map, by arithmetic that a reader can redo."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields

from geoseg.errors import ConfigError

__all__ = ["ArchiveCosts", "UnitCosts", "archive_costs"]


@dataclass(frozen=True, slots=True, kw_only=True)
class UnitCosts:
    """What a pixel and a scene take; the defaults are measured (docs/scale.md says how).

    Raises:
        ConfigError: one is negative or no number.
    """

    map_s: float = 1.1  # core seconds for 10^6 pixels: Unet resnet18 with four bands, on a CPU
    outline_s: float = 0.014  # core seconds for 10^6 pixels of a map
    scene_s: float = 0.5  # core seconds of a scene beside its pixels: opened, handed out, recorded
    read_bytes: float = 5.2  # of a pixel of four bands of 16 bits, deflated
    write_bytes: float = 1.0  # of a pixel of a map with probabilities

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if not 0 <= value < math.inf:
                raise ConfigError(f"{field.name} = {value:g} is no cost; give 0 or more.")


@dataclass(frozen=True, slots=True, kw_only=True)
class ArchiveCosts:
    """What all scenes take."""

    pixels: float
    core_hours: float
    hours: float  # on so many workers, if they work as well together as alone
    read_tb: float  # 10^12 bytes
    write_tb: float


def archive_costs(
    scenes: int, megapixels: float, *, workers: int = 1, each: UnitCosts | None = None
) -> ArchiveCosts:
    """What it takes to map scenes and to outline the maps.

    Args:
        scenes: how many.
        megapixels: of one, 10^6.
        workers: cores that map; none stands idle as long as there are many more scenes.
        each: what a pixel and a scene take.

    Raises:
        ConfigError: no scenes, pixels or workers.
    """
    each = each or UnitCosts()
    if scenes < 1 or workers < 1 or not 0 < megapixels < math.inf:
        raise ConfigError(
            f"{scenes} scenes of {megapixels:g} megapixels on {workers} workers are no archive; "
            "give more than 0 of each."
        )
    pixels = scenes * megapixels * 1e6
    seconds = pixels / 1e6 * (each.map_s + each.outline_s) + scenes * each.scene_s
    return ArchiveCosts(
        pixels=pixels,
        core_hours=seconds / 3600,
        hours=seconds / 3600 / min(workers, scenes),
        read_tb=pixels * each.read_bytes / 1e12,
        write_tb=pixels * each.write_bytes / 1e12,
    )
