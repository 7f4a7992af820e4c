import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[1]


def test_the_wheel_holds_every_room():
    """The list is written out because recipes/ is installed under another name."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    listed = set(project["tool"]["setuptools"]["packages"])

    on_disk = {
        ".".join(p.parent.relative_to(ROOT).parts) for p in ROOT.glob("geoseg/**/__init__.py")
    }
    recipes = {
        ".".join(("geoseg_recipes", *p.parent.relative_to(ROOT / "recipes").parts))
        for p in ROOT.glob("recipes/**/__init__.py")
    }
    assert listed == on_disk | recipes
