"""How scenes are prepared, and what came of one."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from geoseg.errors import ConfigError, nearest
from geoseg.scenes.prepare.clouds import cloud_mask_named
from geoseg.scenes.prepare.quality import STRIKABLE

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from geoseg.scenes.prepare.control import Registration
    from geoseg.scenes.scene import Scene

__all__ = ["PrepareSettings", "Prepared"]

_OWN = frozenset({"auto", "none", "product", "thresholds"})


@dataclass(frozen=True, slots=True, kw_only=True)
class PrepareSettings:
    """How scenes are prepared.

    Raises:
        ConfigError: a cloud mask or a kind of pixel that is not known.
    """

    # auto: codes of the product, else thresholds where the bands serve. Or the name of a plug-in.
    clouds: str = "auto"
    strike: tuple[str, ...] = ("cloud", "shadow")  # of STRIKABLE, besides what was not measured
    even_tones: bool = False  # of film
    points: Path | None = None  # ground control of a single image

    def __post_init__(self) -> None:
        if self.clouds not in _OWN:
            cloud_mask_named(self.clouds)
        for kind in self.strike:
            if kind not in STRIKABLE:
                raise ConfigError(f"no kind of pixel {kind!r}. {nearest(kind, STRIKABLE)}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """A scene that is ready to be mapped."""

    scene: Scene
    shares: Mapping[str, float] = field(default_factory=dict)  # of what was measured, by kind
    registration: Registration | None = None
    said: tuple[str, ...] = ()  # what a person should know of it
