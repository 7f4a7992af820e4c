import subprocess
import sys
import tomllib
from importlib.metadata import PackageNotFoundError, packages_distributions, requires
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
# Modules that say which extra they need before they import it.
NEED_AN_EXTRA = {
    "geoseg.active.page.server",
    "geoseg.page.guard",
    "geoseg.page.local",
    "geoseg.pivot.physical.kernel",
    "geoseg.viewer.server",
}

IMPORT_ALL = """
import importlib, pkgutil, sys, warnings
warnings.simplefilter("ignore")
sys.modules.update(dict.fromkeys(sys.argv[1].split(","), None))
import geoseg
for module in pkgutil.walk_packages(geoseg.__path__, "geoseg."):
    if module.name not in sys.argv[2].split(","):
        importlib.import_module(module.name)
"""


def test_the_wheel_holds_every_room():
    """The list is written out because recipes/ is installed under another name."""
    listed = set(PROJECT["tool"]["setuptools"]["packages"])

    on_disk = {
        ".".join(p.parent.relative_to(ROOT).parts) for p in ROOT.glob("geoseg/**/__init__.py")
    }
    recipes = {
        ".".join(("geoseg_recipes", *p.parent.relative_to(ROOT / "recipes").parts))
        for p in ROOT.glob("recipes/**/__init__.py")
    }
    assert listed == on_disk | recipes


def installed_with(requirements):
    """Names of all distributions that come along."""
    met, ahead = set(), [Requirement(one) for one in requirements]
    while ahead:
        one = ahead.pop()
        name = canonicalize_name(one.name)
        try:
            needed = [Requirement(text) for text in requires(name) or ()]
        except PackageNotFoundError:  # for another system
            continue
        met.add(name)
        for more in needed:
            known = canonicalize_name(more.name) in met
            wanted = more.marker is None or any(
                more.marker.evaluate({"extra": extra}) for extra in ("", *one.extras)
            )
            if wanted and not known:
                ahead.append(more)
    return met


@pytest.mark.slow
def test_every_room_opens_without_any_extra():
    project = PROJECT["project"]
    plain = installed_with(project["dependencies"])
    absent = {
        module
        for module, owners in packages_distributions().items()
        if not {canonicalize_name(owner) for owner in owners} & (plain | {"geoseg", "pip"})
    }

    done = subprocess.run(
        [sys.executable, "-c", IMPORT_ALL, ",".join(absent), ",".join(NEED_AN_EXTRA)],
        capture_output=True,
        text=True,
        check=False,
    )

    assert {"faiss", "numba", "distributed", "hypothesis"} <= absent
    assert done.returncode == 0, done.stderr
