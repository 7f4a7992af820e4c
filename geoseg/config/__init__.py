"""Recipes: what a run does, as a file that is checked before anything starts."""

from geoseg.config.kinds import find_kind, find_kinds, schema_by_name
from geoseg.config.labelling import LabellingRecipe, RoundSettings, SimulationSettings
from geoseg.config.landcover import (
    CoverLearningSettings,
    CoverMapSettings,
    CubeSettings,
    GroundSettings,
    LandCoverRecipe,
)
from geoseg.config.presence import (
    CalibrationSettings,
    ClassifierSettings,
    FewLabelSettings,
    LearningSettings,
    PresenceRecipe,
)
from geoseg.config.recipe import (
    RECIPE,
    Recipe,
    load_recipe,
    recipe_hash,
    training_hash,
    with_absolute_paths,
)
from geoseg.config.reference import as_markdown, schema_of
from geoseg.config.sections import (
    AdaptationSettings,
    Architecture,
    ChipSettings,
    FilmSettings,
    InferenceSettings,
    InventorySettings,
    LabelSettings,
    ModelSettings,
    OutlineSettings,
    SceneSettings,
    SchemeClass,
    Section,
    SourceSettings,
    SplitSettings,
    TrainingSettings,
)
from geoseg.config.strict_yaml import Source, read_yaml

__all__ = [
    "RECIPE",
    "AdaptationSettings",
    "Architecture",
    "CalibrationSettings",
    "ChipSettings",
    "ClassifierSettings",
    "CoverLearningSettings",
    "CoverMapSettings",
    "CubeSettings",
    "FewLabelSettings",
    "FilmSettings",
    "GroundSettings",
    "InferenceSettings",
    "InventorySettings",
    "LabelSettings",
    "LabellingRecipe",
    "LandCoverRecipe",
    "LearningSettings",
    "ModelSettings",
    "OutlineSettings",
    "PresenceRecipe",
    "Recipe",
    "RoundSettings",
    "SceneSettings",
    "SchemeClass",
    "Section",
    "SimulationSettings",
    "Source",
    "SourceSettings",
    "SplitSettings",
    "TrainingSettings",
    "as_markdown",
    "find_kind",
    "find_kinds",
    "load_recipe",
    "read_yaml",
    "recipe_hash",
    "schema_by_name",
    "schema_of",
    "training_hash",
    "with_absolute_paths",
]
