"""Tables of columns in docs/ against the code that writes them."""

import re
from pathlib import Path
from typing import get_type_hints

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import shapely
from conftest import scene_of, write_raster

from geoseg.active.rounds import PROPOSAL_SCHEMA, labels_table
from geoseg.config import OutlineSettings
from geoseg.inventory.columns import COLUMNS, GEOMETRY_TYPES
from geoseg.labels import GLACIER, IGNORE
from geoseg.pivot.storage import cube
from geoseg.presence import first_table, results
from geoseg.presence.evidence_layers import GrowthRow, OutlineRow
from geoseg.presence.queue import QUEUE_SCHEMA
from geoseg.vectorize import outline_scene

DOCS = Path(__file__).parents[2] / "docs"
LAYERS = (DOCS / "reference" / "layers.md").read_text()
INVENTORY = (DOCS / "inventory.md").read_text()
_ROW = re.compile(r"^\| (`.*?`) \| (.*?) \|", re.MULTILINE)


def told(text, after):
    """The columns of the first table that follows some words, with their types, in order."""
    begun = text[text.index(after) :]
    table = begun[begun.index("\n|") :].split("\n\n")[0]
    return {
        name: kind for names, kind in _ROW.findall(table) for name in re.findall(r"`(.+?)`", names)
    }


def of_arrow(schema):
    return {field.name: _arrow_name(field.type) for field in schema}


def _arrow_name(kind):
    if pa.types.is_list(kind):
        return f"list of {_arrow_name(kind.value_type)}"
    names = {
        "text": pa.types.is_string,
        "real": pa.types.is_floating,
        "integer": pa.types.is_integer,
        "bool": pa.types.is_boolean,
        "time": pa.types.is_timestamp,
        "bytes": pa.types.is_binary,
    }
    return next(name for name, holds in names.items() if holds(kind))


def of_row(row):
    names = {str: "text", int: "integer", float: "real", pd.Timestamp: "time"}
    hints = get_type_hints(row, vars(__import__(row.__module__, fromlist=["_"])))
    return {k: names[v] for k, v in hints.items() if not issubclass(v, shapely.Geometry)}


@pytest.mark.parametrize(
    ("after", "written"),
    [
        ("### Results of presence", of_arrow(results.SCHEMA)),
        ("### First years", of_arrow(first_table._SCHEMA)),
        ("### Queue", of_arrow(QUEUE_SCHEMA)),
        ("`rounds/NNN/proposal.parquet`", of_arrow(PROPOSAL_SCHEMA)),
        ("### Evidence", of_row(OutlineRow)),
        ("Layer `growth`", of_row(GrowthRow)),
    ],
)
def test_a_table_of_columns_is_that_of_the_file(after, written):
    assert list(told(LAYERS, after).items()) == list(written.items())


@pytest.mark.parametrize("layer", ["outlines", "tracks", "events", "surveys"])
def test_a_layer_of_the_inventory_is_told_column_by_column(layer):
    columns = told(INVENTORY, f"**{layer}**:")

    assert list(columns.items()) == list(COLUMNS[layer].items())


@pytest.mark.parametrize("layer", ["changes", "states", "lakes"])
def test_a_small_layer_of_the_inventory_names_its_columns_in_order(layer):
    begun = INVENTORY[INVENTORY.index(f"**{layer}**:") :]
    paragraph = re.split(r"\n\*\*|\nIn the GeoPackage", begun)[0]

    named = [n for n in re.findall(r"`(\w+)`", paragraph) if n in COLUMNS[layer]]

    assert list(dict.fromkeys(named)) == list(COLUMNS[layer])


def test_geometries_of_the_inventory_are_those_that_are_told():
    for layer in COLUMNS:
        begun = INVENTORY[INVENTORY.index(f"**{layer}**:") :].split("\n\n")[0]
        assert GEOMETRY_TYPES.get(layer, "no geometry") in begun


def test_labels_have_the_columns_that_are_told():
    class Pool:
        lon = lat = np.zeros(1)

        def positions(self, items):
            return np.arange(len(items))

    class Labels:
        items = ("a",)
        probabilities = np.array([[0.2, 0.8]])
        votes = unknown = np.ones(1, dtype=int)

    table = labels_table(Labels(), Pool(), ("absent", "present"))

    assert list(table.columns) == list(told(LAYERS, "`labels.csv`"))


def test_parts_of_a_pivot_variable_are_those_of_the_cube():
    assert told(LAYERS, "## The pivot") == {f"red{p}": m for p, m in cube._PARTS.items()}


def test_outlines_of_a_map_have_the_columns_that_are_told(tmp_path):
    classes = write_raster(tmp_path / "c.tif", np.ones((20, 30), np.uint8), nodata=IGNORE)
    chances = write_raster(tmp_path / "p.tif", np.full((2, 20, 30), 125, np.uint8), nodata=IGNORE)

    outlines = outline_scene(
        classes,
        chances,
        scene=scene_of(classes),
        scheme=GLACIER,
        settings=OutlineSettings(min_area_m2=0),
    )

    columns = told(LAYERS, "## Outlines of a map")
    columns["p_glacier"] = columns.pop("p_CLASS")
    assert set(outlines.columns) - {"geometry"} == set(columns)
