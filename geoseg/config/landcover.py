"""The recipe of land cover: every key with its default and what it means."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from geoseg.config.sections import Section

__all__ = ["CoverLearningSettings", "CoverMapSettings", "GroundSettings", "LandCoverRecipe"]


class GroundSettings(Section):
    """What is simulated, and the days on which the pivot is asked."""

    side: int = Field(default=64, ge=16, le=512)
    """Of a ground, in cells of 10 m."""
    teaching: int = Field(default=6, ge=1)
    """Grounds to learn from."""
    testing: int = Field(default=2, ge=1)
    """Other grounds, that are mapped and scored."""
    every_days: int = Field(default=15, ge=1, le=90)
    """Between two dates of the pivot."""


class CoverLearningSettings(Section):
    """How the network is taught, and on what."""

    per_class: int = Field(default=3_000, ge=10)
    """Cells of each class to learn from, at most."""
    held_out: float = Field(default=0.2, gt=0, lt=0.9)
    """Share of the parcels that the best step is chosen on."""
    width: int = Field(default=64, ge=8, le=512, multiple_of=8)
    """Channels of a date."""
    steps: int = Field(default=500, ge=1)
    batch: int = Field(default=256, ge=4)
    """Cells of a step."""
    learning_rate: float = Field(default=3e-3, gt=0, lt=1)
    weight_decay: float = Field(default=5e-2, ge=0, lt=1)
    validate_every: int = Field(default=50, ge=1)
    """Steps between two looks at what is held out."""


class CoverMapSettings(Section):
    """What is mapped."""

    gsd_m: tuple[Annotated[float, Field(gt=0, le=10_000)], ...] = Field(
        default=(2.0, 5.0, 10.0, 20.0, 30.0, 60.0, 100.0), min_length=1
    )
    """Pixel sizes, beside that of the pivot, which has to be a multiple of the finest; the others
    may be any."""
    legends: tuple[Literal["worldcover", "corine-1", "corine-2", "ipcc"], ...] = ("ipcc",)
    """Legends that the maps of the network are translated into."""


class LandCoverRecipe(Section):
    """A whole run of `geoseg pivot-landcover`."""

    seed: int = Field(default=0, ge=0, lt=2**31)
    data: Literal["simulated"] = "simulated"
    """simulated: years of Sentinel-2, Landsat and Sentinel-1 over grounds of known cover."""
    ground: GroundSettings = GroundSettings()
    learning: CoverLearningSettings = CoverLearningSettings()
    maps: CoverMapSettings = CoverMapSettings()

    @model_validator(mode="after")
    def _pixels_differ(self) -> LandCoverRecipe:
        if len(set(self.maps.gsd_m)) < len(self.maps.gsd_m):
            raise ValueError(f"maps.gsd_m names a pixel size twice: {list(self.maps.gsd_m)}")
        return self
