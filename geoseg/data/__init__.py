"""Open data sets, and a simulated landscape with known truth."""

from geoseg.data.labelled import LabelledScene
from geoseg.data.registry import DataFile, DataSet, fetch, find_data_set, load_registry
from geoseg.data.simulate import simulate
from geoseg.data.sources import Sources, describe_scene, find_sources

__all__ = [
    "DataFile",
    "DataSet",
    "LabelledScene",
    "Sources",
    "describe_scene",
    "fetch",
    "find_data_set",
    "find_sources",
    "load_registry",
    "simulate",
]
