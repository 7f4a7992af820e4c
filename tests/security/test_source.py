"""What the code of geoseg never does: held for every file, also for those not yet written."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FILES = sorted([*ROOT.glob("geoseg/**/*.py"), *ROOT.glob("recipes/**/*.py")])
READS = {"read_file", "read_dataframe", "read_info", "list_layers", "open_arrow", "read_bounds"}
SQL = {"execute", "executemany", "executescript"}
LOOK_AT_CODECS = {"geoseg/landcover/ground.py", "geoseg/pivot/storage/knots.py"}
# Where a name in SQL is one of a few words of the code, or was checked to be letters and digits.
NAMED_IN_SQL = {
    "geoseg/active/ingest.py",
    "geoseg/active/project.py",
    "geoseg/inventory/storage/geopackage.py",
}


def called(node):
    """The dotted name of what is called: torch.load."""
    parts = []
    target = node.func
    while isinstance(target, ast.Attribute):
        parts.append(target.attr)
        target = target.value
    parts.append(target.id if isinstance(target, ast.Name) else "")
    return ".".join(reversed(parts))


def given(node, name):
    """The value of an argument by its name, as it is written."""
    return next((ast.unparse(k.value) for k in node.keywords if k.arg == name), None)


def is_text_with_values(node):
    """Whether text is put together: f"...", "..." % a, "..." + a, "...".format(a)."""
    if isinstance(node, ast.JoinedStr):
        return any(isinstance(part, ast.FormattedValue) for part in node.values)
    if isinstance(node, ast.BinOp):
        return True
    return isinstance(node, ast.Call) and called(node).endswith(".format")


def imports(tree):
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def faults(text, path):
    """What a file does that it must not, each as `line: what`."""
    tree = ast.parse(text)
    found = [
        f"imports {name}"
        for name in imports(tree)
        if name.split(".")[0] in {"pickle", "marshal", "shelve", "dill", "cloudpickle", "joblib"}
        or name.startswith(("xml.dom", "xml.sax", "lxml", "http.client", "urllib.request"))
    ]
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call)]
    reads = [node for node in calls if called(node).rpartition(".")[2] in READS]
    if reads and "geoseg.vectors.opening" not in imports(tree):
        found.append(f"line {reads[0].lineno}: reads a vector file of any kind")
    return found + [f"line {node.lineno}: {why}" for node in calls for why in _of(node, path)]


def _of(node, path):
    name = called(node)
    last = name.rpartition(".")[2]
    yield from _runs_code(node, name, last)
    yield from _opens(node, name, last, path)
    if last in SQL and node.args and is_text_with_values(node.args[0]) and path not in NAMED_IN_SQL:
        yield "puts SQL together"


def _runs_code(node, name, last):
    if name in {"eval", "exec", "compile", "__import__"}:
        yield name
    if name in {"os.system", "os.popen"} or given(node, "shell") not in {None, "False"}:
        yield "starts a shell"
    if name.startswith("yaml.") and last in {"load", "load_all"} and given(node, "Loader") is None:
        yield "reads YAML of any kind"
    if last in {"unsafe_load", "full_load"} or name == "torch.export.load":
        yield f"loads by {last}"
    if name in {"torch.load", "torch.jit.load"} and given(node, "weights_only") != "True":
        yield "loads what may be code"
    if name == "np.load" and given(node, "allow_pickle") != "False":
        yield "loads arrays that may be pickles"
    if last in {"read_pickle", "loads"} and name.startswith(("pd.", "pickle.", "marshal.")):
        yield "unpickles"


def _opens(node, name, last, path):
    yield from _opens_rasters(node, name, last, path)
    if name == "xr.open_zarr" and path not in LOOK_AT_CODECS:
        yield "opens a Zarr store without a look at its codecs"
    if last in {"extractall", "extract", "unpack_archive"} and given(node, "filter") != "'data'":
        yield "extracts what may lead out of its folder"
    of_others = path != "geoseg/report/qgis_project.py"  # which takes up styles of ours
    if name.startswith("ET.") and last in {"parse", "fromstring", "XML"} and of_others:
        yield "reads XML whose entities are expanded"


def _opens_rasters(node, name, last, path):
    if last == "DatasetReader" and path != "geoseg/scenes/raster.py":
        yield "opens a raster by itself"
    if name == "rasterio.open" and given(node, "driver") is None:
        spread = any(keyword.arg is None for keyword in node.keywords)  # **profile of ours
        if not (spread and len(node.args) > 1):
            yield "opens a raster by any driver"
    # Pictures of a data set that is known by its checksums are of any kind.
    if name == "Image.open" and given(node, "formats") is None and "data/slumps" not in path:
        yield "opens a picture of any kind"


@pytest.mark.slow
def test_no_file_runs_or_opens_what_it_does_not_know():
    found = {}
    for path in FILES:
        name = path.relative_to(ROOT).as_posix()
        if told := faults(path.read_text(encoding="utf-8"), name):
            found[name] = told

    assert len(FILES) > 300
    assert found == {}


@pytest.mark.parametrize(
    "line",
    [
        "import pickle",
        "from joblib import load",
        "eval(text)",
        "exec(text)",
        "os.system(text)",
        "subprocess.run(text, shell=True)",
        "yaml.load(text)",
        "yaml.unsafe_load(text)",
        "torch.load(path)",
        "torch.load(path, weights_only=False)",
        "torch.jit.load(path)",
        "torch.export.load(path)",
        "np.load(path)",
        "np.load(path, allow_pickle=True)",
        "pd.read_pickle(path)",
        "rasterio.open(path)",
        "rasterio.open(path, 'r+')",
        "DatasetReader(path)",
        "gpd.read_file(path)",
        "pyogrio.read_dataframe(path, layer='a')",
        "xr.open_zarr(path)",
        "tar.extractall(folder)",
        "shutil.unpack_archive(path)",
        "Image.open(path)",
        "ET.fromstring(text)",
        "database.execute(f'SELECT {name}')",
        "database.execute('SELECT ' + name)",
        "database.execute('SELECT {}'.format(name))",
    ],
)
def test_each_of_these_would_be_found(line):
    assert faults(line, "geoseg/new.py")


def test_the_code_that_sees_to_it_is_no_fault():
    for line in (
        "torch.load(path, weights_only=True)",
        "np.load(path, allow_pickle=False)",
        "rasterio.open(path, driver='GTiff')",
        "rasterio.open(path, 'w', **profile)",
        "from geoseg.vectors import opening\ngpd.read_file(file)",
        "yaml.load(text, Loader=_Loader)",
        "database.execute('SELECT a FROM b WHERE c = ?', (name,))",
        "tar.extractall(folder, filter='data')",
        "model.eval()",
    ):
        assert faults(line, "geoseg/new.py") == []


def test_what_security_md_says_is_tested_is_there():
    text = (ROOT / "SECURITY.md").read_text(encoding="utf-8")
    named = {word for word in text.replace("`", " ").split() if word.startswith("tests/")}

    missing = [name for name in named if not (ROOT / name.rstrip(",.")).exists()]

    assert len(named) > 15
    assert missing == []
