"""Recipes: what a run does, as a file that is checked before anything starts."""

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
    Recipe,
    load_recipe,
    recipe_hash,
    training_hash,
    with_absolute_paths,
)
from geoseg.config.sections import (
    AdaptationSettings,
    ChipSettings,
    FilmSettings,
    InferenceSettings,
    InventorySettings,
    LabelSettings,
    ModelSettings,
    OutlineSettings,
    SceneSettings,
    SchemeClass,
    SourceSettings,
    SplitSettings,
    TrainingSettings,
)
from geoseg.config.strict_yaml import read_yaml

__all__ = [
    "AdaptationSettings",
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
    "SimulationSettings",
    "SourceSettings",
    "SplitSettings",
    "TrainingSettings",
    "load_recipe",
    "read_yaml",
    "recipe_hash",
    "training_hash",
    "with_absolute_paths",
]
