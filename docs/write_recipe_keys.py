"""Writes what follows from the keys of recipes: their JSON schemas, the tables of docs/recipes.md.

python docs/write_recipe_keys.py
"""

from __future__ import annotations

import json
import re
from pathlib import Path

from geoseg.config import as_markdown, schema_by_name
from geoseg.files import write_text

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "recipes.md"
SCHEMAS = {
    "active-labelling": "recipes/active_labelling",
    "compare": "examples",
    "glacier-inventory": "recipes/glacier_inventory",
    "pivot-landcover": "recipes/pivot_landcover",
    "thaw-slump": "recipes/thaw_slump",
}
TABLES = re.compile(r"(<!-- keys of ([a-z-]+) -->\n).*?(<!-- end -->)", re.DOTALL)


def main() -> None:
    """Write what is not there as it should be."""
    for path, text in made().items():
        write_text(path, text)


def made() -> dict[Path, str]:
    """By its path, the text of each file that follows from the keys."""
    schemas = {
        ROOT / folder / f"{name}.schema.json": json.dumps(schema_by_name(name), indent=2) + "\n"
        for name, folder in SCHEMAS.items()
    }
    page = TABLES.sub(
        lambda found: f"{found[1]}\n{as_markdown(schema_by_name(found[2]))}\n{found[3]}",
        PAGE.read_text(encoding="utf-8"),
    )
    return {**schemas, PAGE: page}


if __name__ == "__main__":
    main()
