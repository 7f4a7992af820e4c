"""Writes docs/licences.md: what geoseg needs when it is installed, each with its licence.

python docs/write_licences.py

From the metadata of what is installed here, as its makers state it. A test sees to it that the core
needs nothing whose licence geoseg's own users would have to take over.
"""

from __future__ import annotations

import re
import tomllib
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path
from typing import NamedTuple

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "licences.md"
_SHORT = {
    "Apache Software License": "Apache-2.0",
    "BSD License": "BSD",
    "ISC License (ISCL)": "ISC",
    "MIT License": "MIT",
    "Mozilla Public License 2.0 (MPL 2.0)": "MPL-2.0",
    "Python Software Foundation License": "PSF-2.0",
}
# A list of NVIDIA's packages without words of its own; they state theirs.
_KNOWN = {"cuda-toolkit": "LicenseRef-NVIDIA-Proprietary"}


class Licensed(NamedTuple):
    """One package and its licence, as its maker states it."""

    name: str
    licence: str
    extra: str  # '' of the core


def main() -> None:
    """Write the page."""
    PAGE.write_text(page_of(dependencies()), encoding="utf-8")


def dependencies() -> list[Licensed]:
    """All that comes along with the core, and what its extras for users add to that."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    core = _needed(project["dependencies"])
    found = [Licensed(name, licence_of(distribution(name)), "") for name in sorted(core)]
    for extra, wanted in sorted(project["optional-dependencies"].items()):
        if extra not in {"dev", "docs", "fuzz"}:
            own = sorted(_needed(wanted) - core - {"geoseg"})
            found += [Licensed(name, licence_of(distribution(name)), extra) for name in own]
    return found


def licence_of(one: Distribution) -> str:
    """The licence of a package: its expression, else its classifiers, else its own words."""
    told = one.metadata
    stated = told.get("License-Expression")
    if stated:
        return str(stated)
    classified = [
        line.rpartition(" :: ")[2]
        for line in told.get_all("Classifier") or ()
        if line.startswith("License :: ") and not line.endswith("OSI Approved")
    ]
    if classified:
        return ", ".join(_SHORT.get(name, name) for name in classified)
    words = (told.get("License") or "").strip().splitlines()
    if words:
        return re.sub(r"\s+", " ", words[0])
    return _KNOWN.get(one.name, "not stated")


def page_of(found: list[Licensed]) -> str:
    """The page, without versions: what is installed tomorrow has others."""
    lines = [
        "# Licences",
        "",
        "geoseg is under the Apache License 2.0. What it needs is under licences of its makers, as",
        "they state them. Written by `make licences`.",
        "",
    ]
    for extra in dict.fromkeys(one.extra for one in found):
        title = "Core" if not extra else f"Extra `{extra}`"
        lines += [f"## {title}", "", "| package | licence |", "|---|---|"]
        lines += [f"| {o.name} | {o.licence} |" for o in found if o.extra == extra]
        lines.append("")
    return "\n".join(lines)


def _needed(requirements: list[str]) -> set[str]:
    """Names of all distributions that come along and are installed here."""
    met: set[str] = set()
    ahead = [Requirement(text) for text in requirements]
    while ahead:
        one = ahead.pop()
        name = str(canonicalize_name(one.name))
        try:
            needed = [Requirement(text) for text in distribution(name).requires or ()]
        except PackageNotFoundError:  # for another system
            continue
        if name in met and not one.extras:
            continue
        met.add(name)
        here = [{"extra": extra} for extra in ("", *one.extras)]
        ahead += [
            more
            for more in needed
            if canonicalize_name(more.name) not in met
            and (more.marker is None or any(more.marker.evaluate(place) for place in here))
        ]
    return met


if __name__ == "__main__":
    main()
