"""What is released: one version, a wheel that works by itself, licences that go with ours."""

import re
import subprocess
import sys
import tomllib
import venv
import zipfile
from pathlib import Path

import pytest
import yaml
from packaging.version import Version

import geoseg

ROOT = Path(__file__).parents[1]
TARGETS = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
sys.path.append(str(ROOT / "docs"))
from write_licences import PAGE, dependencies  # noqa: E402  a script beside the pages


def test_the_version_is_one_wherever_it_is_said():
    cited = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]

    assert str(Version(geoseg.__version__)) == geoseg.__version__
    assert cited["version"] == geoseg.__version__
    assert cited["license"] == project["license"]
    assert project["dynamic"] == ["version"]


def test_the_changelog_is_kept_as_keep_a_changelog_says():
    text = (ROOT / "CHANGELOG.md").read_text()
    versions = re.findall(r"^## (.+)$", text, re.MULTILINE)
    kinds = re.findall(r"^### (.+)$", text.partition("\n## [Unreleased]")[2], re.MULTILINE)

    assert versions[0] == "[Unreleased]"
    for released in versions[1:]:
        assert re.fullmatch(r"\[\d+\.\d+\.\d+\] - \d{4}-\d\d-\d\d", released)
    assert set(kinds) <= {"Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"}
    assert len(kinds) == len(set(kinds)) or len(versions) > 1


def test_workflows_call_targets_of_the_makefile_and_nothing_else():
    files = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
    jobs = [job for file in files for job in yaml.safe_load(file.read_text())["jobs"].values()]
    runs = [step["run"] for job in jobs for step in job["steps"] if "run" in step]

    targets = ("test", "run", "doc-commands", "examples", "docs", "wheel", "audit")
    assert set(targets) <= {run.split()[1] for run in runs}
    for run in runs:
        assert re.fullmatch(r"make [a-z-]+( SECONDS=\d+| AUDIT=--must)?", run), run
        assert run.split()[1] in TARGETS


@pytest.mark.parametrize("name", ["CONTRIBUTING.md", "SECURITY.md", "README.md"])
def test_pages_name_targets_that_there_are(name):
    named = set(re.findall(r"(?:`|    )make ([a-z-]+)", (ROOT / name).read_text()))

    assert named
    assert named <= set(TARGETS)


def test_no_licence_of_a_dependency_binds_those_who_use_geoseg():
    found = dependencies()

    bound = [one for one in found if re.search(r"\bA?GPL|(Affero|GNU) General", one.licence)]
    assert len([one for one in found if not one.extra]) > 50
    assert bound == []
    assert [one.name for one in found if one.licence == "not stated"] == []


def test_the_page_of_licences_names_all_that_is_asked_for():
    page = PAGE.read_text()
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    asked = [re.split(r"[<>=\[ ]", text)[0].lower() for text in project["dependencies"]]

    assert [name for name in asked if f"| {name} |" not in page] == []


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"
    # A copy: a build leaves files behind, and takes up those of builds before.
    for part in ("geoseg", "recipes", "pyproject.toml", "README.md", "LICENSE"):
        paths = [ROOT / part] if (ROOT / part).is_file() else (ROOT / part).rglob("*")
        for path in paths:
            if path.is_file() and "__pycache__" not in path.parts:
                copy = source / path.relative_to(ROOT)
                copy.parent.mkdir(parents=True, exist_ok=True)
                copy.write_bytes(path.read_bytes())
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", folder]
    subprocess.run([*command, source], check=True, capture_output=True)
    return next(folder.glob("*.whl"))


@pytest.mark.slow
def test_the_wheel_is_small_and_holds_all_that_is_read_at_run_time(wheel):
    with zipfile.ZipFile(wheel) as archive:
        held = set(archive.namelist())

    suffixes = {".toml", ".html", ".txt", ".css", ".js", ".typed"}
    needed = {
        path.relative_to(ROOT).as_posix()
        for path in ROOT.glob("geoseg/**/*")
        if path.suffix in suffixes
    }
    recipes = {
        f"geoseg_recipes/{path.relative_to(ROOT / 'recipes').as_posix()}"
        for path in ROOT.glob("recipes/*/*.yaml")
    }
    assert wheel.stat().st_size <= 2e6
    assert len(needed) > 15
    assert len(recipes) >= 4
    assert needed | recipes <= held
    assert not [name for name in held if name.startswith(("tests/", "benchmarks/", "docs/"))]


@pytest.mark.slow
def test_the_wheel_works_where_nothing_else_of_the_checkout_is(wheel, tmp_path):
    """With the dependencies of this environment, which are fetched from nowhere again."""
    venv.create(tmp_path / "venv", with_pip=False)
    python = tmp_path / "venv" / "bin" / "python"
    room = next((tmp_path / "venv" / "lib").glob("python*/site-packages"))
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(room)  # a wheel of ours
    lent = next(path for path in sys.path if path.endswith("site-packages"))
    # Appended as a plain folder, so that nothing in it points back to this checkout.
    (room / "lent.pth").write_text(f"import sys; sys.path.append({lent!r})\n")
    code = (
        "import geoseg, geoseg_recipes, sys; from geoseg.cli import main;"
        "assert sys.prefix in geoseg.__file__ and sys.prefix in geoseg_recipes.__file__;"
        "main()"
    )

    def told(*words):
        done = subprocess.run(
            [python, "-c", code, *words], cwd=tmp_path, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    assert geoseg.__version__ in told("--version")
    for recipe in ("glacier-inventory", "thaw-slump", "pivot-landcover", "active-labelling"):
        assert "run" in told(recipe, "--help")
    assert "sentinel-2" in told("sensors", "list")
