"""The recipe of labelling: every key with its default and what it means."""

from __future__ import annotations

from pydantic import Field

from geoseg.config.sections import MOST, Section

__all__ = ["LabellingRecipe", "RoundSettings", "SimulationSettings"]


class RoundSettings(Section):
    """What is asked for at once."""

    items: int = Field(default=100, ge=1, le=MOST)
    """Items of a round, a tenth of them a random audit."""
    strategy: str = "mixture"
    """Of `geoseg active propose`."""
    apart_m: float = Field(default=0.0, ge=0)
    """Metres between two items that are chosen; 0 where it is no matter."""


class SimulationSettings(Section):
    """What is compared where people are simulated."""

    strategies: tuple[str, ...] = ("random", "mixture")
    """Of `geoseg active propose`."""
    seeds: int = Field(default=20, ge=1, le=MOST)
    """Labellings of each; three do not put strategies in order."""
    rounds: int = Field(default=15, ge=1, le=MOST)
    """Of each labelling."""
    batch: int = Field(default=50, ge=1, le=MOST)
    """Labels of a round."""
    starts: int = Field(default=5, ge=0, le=MOST)
    """Positives that are known before."""


class LabellingRecipe(Section):
    """A pool of places, to be labelled by people or by the truth."""

    seed: int = Field(default=0, ge=0, lt=2**31)
    """Of all that is drawn at random: the same seed gives the same run."""
    data: str | None = None
    """rts-chips: windows of images of thaw slumps; simulated: series of simulated places."""
    places: int = Field(default=2000, ge=50, le=MOST)
    """Simulated ones."""
    ratio: int = Field(default=100, ge=1, le=MOST)
    """Places without for one that holds what is looked for: others of these are left out."""
    round: RoundSettings = RoundSettings()
    simulation: SimulationSettings = SimulationSettings()
