"""Files and names of people who mean harm, for benchmarks/reliability.py.

The files are those of tests/security and tests/config.
"""

from __future__ import annotations

import io
import json
import shutil
import tarfile
from contextlib import chdir, suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING
from xml.etree import ElementTree as ET

import yaml
from command_line import geoseg_here
from config.test_recipe import HOSTILE as BROKEN_RECIPES
from config.test_recipe_errors import BOMBS
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from inventory.small_inventory import small_inventory
from nobody import listening
from numcodecs import pickles
from page_elements import Elements
from parsers import PARSERS, classifier_header, header_of, model_spec, place, png, put
from reliability_row import (
    Ground,
    Hazard,
    Row,
    all_below,
    files_below,
    require,
    require_answered,
    require_ended,
)
from reliability_scenes import SMALL, write_noise
from test_hostile_checkpoints import HOSTILE as CHECKPOINTS
from test_hostile_checkpoints import Touch, header
from test_hostile_cubes import BROKEN as BROKEN_ARRAYS
from test_hostile_cubes import HOSTILE as CUBES
from test_hostile_cubes import write_hostile
from test_hostile_vectors import SCHEME, hostile
from test_inventory_page import HOSTILE as MARKUP
from test_names import NAMES, is_plain
from test_parsers import FOUND, altered, seeds_of

from geoseg.config import load_recipe
from geoseg.errors import ConfigError, GeosegError, LabelError
from geoseg.files import plain_name
from geoseg.inventory.surveys.sources import read_ground
from geoseg.labels import ClassScheme, MapClass, read_outlines
from geoseg.landcover.ground import open_cube
from geoseg.models import load_checkpoint
from geoseg.models.classifier import load_classifier
from geoseg.pivot.storage import open_store
from geoseg.presence.packs.read import places_of_shard, read_stored
from geoseg.report import write_report
from geoseg.report.qgis import outline_style
from geoseg.report.qgis_project import inventory_project
from geoseg.scenes.area import read_area

if TYPE_CHECKING:
    from collections.abc import Callable

NAMES_TRIED, ALTERED = 1000, 10  # of each parser
MOST_LETTERS = 2000  # of what is told
SECRET = "root:x:0:0"
IDS = ["../" * 20 + "etc/passwd", "/etc/passwd", "a\0b", "..", ".", "", "a\nb", "~root/a"]
# The same ones each time; what others find is looked for by `make fuzz`.
STEADY = settings(
    derandomize=True, database=None, deadline=None, suppress_health_check=list(HealthCheck)
)


def require_sentence(act: Callable[[], object], kind: type[GeosegError] = GeosegError) -> None:
    """Something has to be refused by an error of geoseg, in one sentence."""
    try:
        act()
    except kind as error:
        text = str(error)
        require(text.rstrip().endswith(".") and len(text) < MOST_LETTERS, f"no sentence: {text}")
    else:
        require(False, "it was taken")


def checkpoints(row: Row, ground: Ground) -> None:
    """Pickles under all names, headers that name what is to be fetched or are none."""
    touched = ground.folder / "touched"
    for kind, make in CHECKPOINTS.items():
        for suffix in (".safetensors", ".pt", ".ckpt"):
            path = ground.folder / f"model{suffix}"
            path.write_bytes(make(Touch(touched)))
            for load in (load_checkpoint, load_classifier):
                with row.trying(f"{kind}, {suffix}, {load.__name__}"):
                    require_sentence(lambda load=load, path=path: load(path))  # type: ignore[misc]
                    require(not touched.exists(), "it ran code")
    encoders = ("hf-hub:a/b", "tu-hf-hub:a/b", "local-dir:/tmp/a", "tu-local-dir:/tmp/a", "../a")
    headers = [header_of({**model_spec(), "encoder": encoder}) for encoder in encoders]
    for value in (*encoders, 10**6, 10**12, -1, None):
        described = classifier_header()
        key = "encoder" if isinstance(value, str) else "width"
        described["classifier"][key] = value
        headers.append(described)
    headers += [[], 1, None, {}, {"spec": []}, {"spec": {"scheme": 1}}]
    for number, fields in enumerate(headers):
        with row.trying(f"header {number}"):
            path = header(ground.folder, fields)
            for load in (load_checkpoint, load_classifier):
                require_sentence(lambda load=load, path=path: load(path))  # type: ignore[misc]


def vectors(row: Row, ground: Ground) -> None:
    """Files that GDAL takes for what they are not: labels, areas and surveys refuse them."""
    with listening() as nobody:
        for path in hostile(ground.folder, nobody.url):
            with row.trying(path.name):
                require_sentence(
                    lambda path=path: read_outlines(path, SCHEME, layer=None, class_of="ice"),  # type: ignore[misc]
                    LabelError,
                )
                require_sentence(lambda path=path: read_area(path), ConfigError)  # type: ignore[misc]
                require_sentence(lambda path=path: read_ground(path), LabelError)  # type: ignore[misc]
                require(nobody.asked == [], f"a server was asked for {nobody.asked}")
            nobody.forget()


def cubes(row: Row, ground: Ground) -> None:
    """Zarr stores that name a codec that unpickles, and arrays that do not say what they are."""
    pickles.ALLOW_UNSAFE_PICKLE_DECODE = True  # as numcodecs was before it refused by itself
    touched = ground.folder / "touched"
    for kind, form in CUBES.items():
        store = ground.folder / kind / "e.zarr"
        write_hostile(store, form, touched)
        with row.trying(kind):
            require_sentence(lambda store=store: open_cube(store))  # type: ignore[misc]
            require_sentence(lambda store=store: open_store(store))  # type: ignore[misc]
            require(not touched.exists(), "it ran code")
    for number, text in enumerate(BROKEN_ARRAYS):
        folder = ground.folder / str(number)
        folder.mkdir()
        with row.trying(f"array {text[:30]!r}"):
            require_sentence(
                lambda text=text, folder=folder: PARSERS["cube"].read(text.encode(), folder)  # type: ignore[misc]
            )


def recipes(row: Row, ground: Ground) -> None:
    """YAML: aliases of aliases, depth, size, tags of Python, unknown keys."""
    path = ground.folder / "mine.yaml"
    texts = [text for text, _ in BOMBS] + list(BROKEN_RECIPES)
    texts += ["#" * (2**20 + 1), "trainig: {steps: 3}", "training: {step: 3}", "out: /tmp/a"]
    for number, text in enumerate(texts):
        path.write_text(text)
        with row.trying(f"recipe {number}, {text[:30]!r}"):
            require_sentence(lambda: load_recipe(None, overlay=path), ConfigError)
            done = geoseg_here("glacier-inventory", "run", "--recipe", path, "--out",
                               ground.folder / "out")  # fmt: skip
            require_ended(done, 2, "mine.yaml")
            require(not (ground.folder / "out").exists(), "it made a folder")


def paths(row: Row, ground: Ground) -> None:
    """What a recipe or an item names is read where it may be, and nothing is written elsewhere."""
    work = ground.folder / "a" / "b"
    work.mkdir(parents=True)
    recipe, item, out = work / "r.yaml", work / "item.json", work / "out"
    raw = write_noise(ground.folder / "image.tif").read_text()
    text = raw.replace('"image.tif"', '"../../image.tif"')
    require(text != raw, "the item does not name its image as it did")
    for name in IDS:
        scene = {"path": name, "sensor": "landsat-7", "date": "2000-10-30", "bands": ["red"]}
        recipe.write_text(yaml.safe_dump({"scene": scene, "labels": {"path": name}}))
        before = all_below(ground.folder)
        with row.trying(f"a recipe that names {name!r}"):
            done = geoseg_here("glacier-inventory", "run", "--recipe", recipe, "--out", out)
            require(done.returncode in {1, 2}, f"exit code {done.returncode}")
            _require_kept(done.stdout + done.stderr, before, ground.folder)
    # Each leads up into what is watched, or names what must not come to be.
    away = str(ground.folder / "away")
    for name in (*IDS, away, "../x", "../../x", "a/../../b", "C:\\a", "\u202eexe", "x" * 5000):
        shutil.rmtree(out, ignore_errors=True)
        item.write_text(text.replace('"id": "image"', f'"id": {json.dumps(name)}'))
        before = all_below(ground.folder)
        with row.trying(f"a scene whose id is {name[:30]!r}"):
            ask = ("predict", "--model", ground.model, "--scene", item, *SMALL, "--out", out)
            done = geoseg_here(*ask)
            _require_kept(done.stdout + done.stderr, before, ground.folder)
            if done.returncode != 0:
                require_ended(done, 1, "item.json")
                require(not out.exists() or not files_below(out), "refused, and it made maps")
                continue
            made = sorted({path.parent for path in out.rglob("classes.tif")})
            require(len(made) == 1 and made[0].parent == out, f"maps lie in {made}")


def _require_kept(told: str, before: dict[str, str], folder: Path) -> None:
    """Nothing is shown, and all that is new lies in the folder of results."""
    require_answered(told)
    require(SECRET not in told, "it shows a file of the machine")
    now = {
        name: digest
        for name, digest in all_below(folder).items()
        if not f"{name}/".startswith("a/b/out/")
    }
    require(now == before, f"it wrote beside its results: {sorted(now.items() ^ before.items())}")


def archives(row: Row, ground: Ground) -> None:
    """Members of a tar that lead elsewhere, or are none: read in place, and never extracted."""
    # What is read is also where relative names would be put, and all above it is watched.
    inside = ground.folder / "deep" / "deeper" / "pack"
    inside.mkdir(parents=True)
    for name, member, content in _members(ground.folder / "away"):
        file = io.BytesIO()
        with tarfile.open(fileobj=file, mode="w") as tar:
            member.size = len(content) if member.isreg() else 0
            tar.addfile(member, io.BytesIO(content))
        path = put(file.getvalue(), inside / "a.tar")
        before = all_below(ground.folder)
        with row.trying(name), chdir(inside):
            with suppress(GeosegError):
                found = [*places_of_shard(path), *read_stored(path, None)]
                require(SECRET not in repr(found), "it shows a file of the machine")
            require(all_below(ground.folder) == before, "it wrote files")


def _members(away: Path) -> list[tuple[str, tarfile.TarInfo, bytes]]:
    found = []
    names = ("../../a", str(away), "a/../../../b", "..", "C:\\a", "~/a", "n" * 5000)
    for name in names:
        for suffix, content in ((".0.png", png()), (".json", place())):
            found.append((f"{name[-20:]}{suffix}", tarfile.TarInfo(f"{name}{suffix}"), content))
    kinds = {
        "symbolic link": tarfile.SYMTYPE,
        "hard link": tarfile.LNKTYPE,
        "device": tarfile.CHRTYPE,
        "block device": tarfile.BLKTYPE,
        "pipe": tarfile.FIFOTYPE,
        "folder": tarfile.DIRTYPE,
    }
    for name, kind in kinds.items():
        member = tarfile.TarInfo("a.0.png")
        member.type, member.linkname = kind, "/etc/passwd"
        found.append((name, member, b""))
    return found


def names(row: Row, ground: Ground) -> None:
    """Names of classes, and ids that become names of files."""
    folder = ground.folder / "ids"
    folder.mkdir()

    @settings(STEADY, max_examples=NAMES_TRIED)
    @given(name=NAMES)
    def try_name(name: str) -> None:
        with row.trying(repr(name)):
            if is_plain(name):
                MapClass(id=1, name=name, colour="#ffffff")
            else:
                require_sentence(lambda: MapClass(id=1, name=name, colour="#ffffff"), LabelError)
            made = plain_name(name)
            require((folder / made).resolve().parent == folder.resolve(), f"{made!r} leads away")
            (folder / made).touch()
            (folder / made).unlink()

    try_name()
    row.names = row.tried


def parsers(row: Row, ground: Ground) -> None:
    """Every parser of geoseg is given what it takes, with words and bytes of it changed."""
    for name in PARSERS:
        (ground.folder / name).mkdir()
        for of, old, new in FOUND:
            if of == name:
                hit = [seed for seed in seeds_of(name) if _bytes(old) in seed]
                require(hit, f"{old!r} is in no file for {name}")
                for seed in hit:
                    _parse(row, ground, name, seed.replace(_bytes(old), _bytes(new)))
        changed = st.one_of(st.binary(max_size=300), altered(seeds_of(name)))
        _try_many(partial(_parse, row, ground, name), changed)


def _try_many(act: Callable[[bytes], None], contents: st.SearchStrategy[bytes]) -> None:
    @settings(STEADY, max_examples=ALTERED)
    @given(content=contents)
    def try_one(content: bytes) -> None:
        act(content)

    try_one()


def _parse(row: Row, ground: Ground, name: str, content: bytes) -> None:
    with row.trying(f"{name}, {content[:60]!r}"), suppress(GeosegError):
        PARSERS[name].read(content, ground.folder / name)


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")


def markup(row: Row, ground: Ground) -> None:
    """Names with markup in a style, a project and a page: they are text there."""
    hostile_names = (
        MARKUP,
        '"/><symbol name="x"/><!--',
        "]]><a/>",
        "&b;",
        "<!ENTITY b SYSTEM 'file:///etc/passwd'>",
        "<script>alert(1)</script>",
    )
    inventory = small_inventory()
    plain = _page(ground.folder, "plain")
    for name in hostile_names:
        with row.trying(f"a style with {name}"):
            scheme = ClassScheme.of({"lake": "#64c80a"})
            # A scheme refuses such a name; the style does not rely on it.
            object.__setattr__(scheme.classes[1], "name", name)
            root = ET.fromstring(outline_style(scheme))
            require(len(list(root.iter("symbol"))) == 1, "an element more")
            category = root.find("renderer-v2/categories/category")
            require(category is not None and category.get("value") == name, "another name")
        with row.trying(f"a project with {name}"):
            named = replace(inventory, title=name)
            root = ET.fromstring(inventory_project(named, file_name="a.gpkg"))
            before = ET.fromstring(inventory_project(inventory, file_name="a.gpkg"))
            require(len(list(root.iter())) == len(list(before.iter())), "elements more or less")
        with row.trying(f"a page with {name}"):
            page = _page(ground.folder, name)
            found, usual = (
                [(tag, sorted(given)) for tag, given in Elements(text).found]
                for text in (page, plain)
            )
            require(found == usual, "other elements, or other attributes")


def _page(folder: Path, name: str) -> str:
    """Of an inventory and glaciers that all have a name."""
    inventory = small_inventory()
    named = inventory.tracks.assign(glac_name=name)
    write_report(replace(inventory, title=name, tracks=named), folder / "page.html")
    return (folder / "page.html").read_text(encoding="utf-8")


HOSTILE = (
    Hazard("markup in names on pages and in styles", markup),
    Hazard("bytes changed in all that is parsed", parsers),
    Hazard("checkpoints that would run code or fetch", checkpoints),
    Hazard("recipes: bombs, depth, size, tags, unknown keys", recipes),
    Hazard("paths in recipes, ids of scenes", paths),
    Hazard("vector files that lead elsewhere", vectors),
    Hazard("cubes with pickles", cubes),
    Hazard("archives whose members lead elsewhere", archives),
    Hazard("names of classes and files", names),
)
