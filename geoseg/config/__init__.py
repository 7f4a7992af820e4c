"""Recipes: what a run does, as a file that is checked before anything starts."""

from geoseg.config.recipe import (
    ChipSettings,
    InferenceSettings,
    LabelSettings,
    ModelSettings,
    OutlineSettings,
    Recipe,
    SceneSettings,
    SchemeClass,
    SplitSettings,
    TrainingSettings,
    load_recipe,
    recipe_hash,
    training_hash,
)
from geoseg.config.strict_yaml import read_yaml

__all__ = [
    "ChipSettings",
    "InferenceSettings",
    "LabelSettings",
    "ModelSettings",
    "OutlineSettings",
    "Recipe",
    "SceneSettings",
    "SchemeClass",
    "SplitSettings",
    "TrainingSettings",
    "load_recipe",
    "read_yaml",
    "recipe_hash",
    "training_hash",
]
