"""The recipe of land cover: every key with its default and what it means."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from geoseg.config.sections import MOST, Section

__all__ = [
    "CoverLearningSettings",
    "CoverMapSettings",
    "CubeSettings",
    "GroundSettings",
    "LandCoverRecipe",
]

LegendName = Literal["simulated", "worldcover", "corine-1", "corine-2", "ipcc"]


class GroundSettings(Section):
    """What is simulated, and the days on which the pivot is asked."""

    side: int = Field(default=64, ge=16, le=512)
    """Of a ground, in cells of 10 m."""
    teaching: int = Field(default=6, ge=1, le=MOST)
    """Grounds to learn from."""
    testing: int = Field(default=2, ge=1, le=MOST)
    """Other grounds, that are mapped and scored."""
    every_days: int = Field(default=15, ge=1, le=90)
    """Between two dates of the pivot."""


class CubeSettings(Section):
    """A cube of the pivot with a map of what covers it."""

    path: str
    """cube.zarr of `geoseg pivot query`, relative to the recipe."""
    reference: str
    """A raster on its grid, in codes of `legend`, 255 where the class is not known."""


class CoverLearningSettings(Section):
    """How the network is taught, and on what."""

    per_class: int = Field(default=3_000, ge=10, le=MOST)
    """Cells of each class to learn from, at most."""
    held_out: float = Field(default=0.2, gt=0, lt=0.9)
    """Share of the parcels that the best step is chosen on."""
    width: int = Field(default=64, ge=8, le=512, multiple_of=8)
    """Channels of a date."""
    steps: int = Field(default=400, ge=1, le=MOST)
    """Of the training: a batch is learned from in each."""
    batch: int = Field(default=256, ge=4, le=MOST)
    """Cells of a step."""
    learning_rate: float = Field(default=3e-3, gt=0, lt=1)
    """The highest: it rises to it over three tenths of the steps, and falls again."""
    weight_decay: float = Field(default=5e-2, ge=0, lt=1)
    """Of AdamW."""
    noise: float = Field(default=0.5, ge=0, le=1)
    """A cell is learned from with noise of up to this share of its standard deviations; with all of
    it, each date by itself, the network learned less."""
    validate_every: int = Field(default=50, ge=1, le=MOST)
    """Steps between two looks at what is held out."""


class CoverMapSettings(Section):
    """What is mapped."""

    gsd_m: tuple[Annotated[float, Field(gt=0, le=10_000)], ...] = Field(
        default=(2.0, 5.0, 10.0, 20.0, 30.0, 60.0, 100.0), min_length=1
    )
    """Pixel sizes, beside that of the pivot, which has to be a multiple of the finest; the others
    may be any."""
    legends: tuple[LegendName, ...] = ("ipcc",)
    """Legends that the maps of the network are translated into."""


class LandCoverRecipe(Section):
    """A whole run of `geoseg pivot-landcover`."""

    seed: int = Field(default=0, ge=0, lt=2**31)
    """Of all that is drawn at random: the same seed gives the same run."""
    data: Literal["simulated", "cubes"] = "simulated"
    """simulated: years of Sentinel-2, Landsat and Sentinel-1 over grounds of known cover; cubes:
    those of `teaching` and `testing`."""
    legend: LegendName = "simulated"
    """Of the classes that are learned."""
    teaching: tuple[CubeSettings, ...] = ()
    """Cubes to learn from, of the same variables and days of the year."""
    testing: tuple[CubeSettings, ...] = ()
    """Cubes of other places, that are mapped and scored."""
    ground: GroundSettings = GroundSettings()
    learning: CoverLearningSettings = CoverLearningSettings()
    maps: CoverMapSettings = CoverMapSettings()

    @model_validator(mode="after")
    def _grounds_are_of_one_source(self) -> LandCoverRecipe:
        named = [bool(self.teaching), bool(self.testing)]
        if self.data == "cubes" and not all(named):
            raise ValueError(
                "data = cubes needs some; name at least one in teaching and one in testing"
            )
        if self.data == "simulated" and (any(named) or self.legend != "simulated"):
            raise ValueError(
                f"data = simulated, and teaching, testing and legend = {self.legend} are of your "
                "own cubes; set data: cubes"
            )
        return self

    @model_validator(mode="after")
    def _pixels_differ(self) -> LandCoverRecipe:
        if len(set(self.maps.gsd_m)) < len(self.maps.gsd_m):
            raise ValueError(f"maps.gsd_m names a pixel size twice: {list(self.maps.gsd_m)}")
        return self
