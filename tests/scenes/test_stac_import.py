import json
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

import fake_products as fake
import pystac
import pytest
import shapely
from conftest import scene_of
from typer.testing import CliRunner

from geoseg.cli import app
from geoseg.errors import ConfigError, DataError, SceneError
from geoseg.scenes import (
    ProblemKind,
    open_scene,
    problems_beside,
    read_catalog,
    read_problems,
    summarise,
    write_scene,
)
from geoseg.scenes.stac_import import ApiSearch, import_items, items_of_api, items_of_file

BOX = shapely.box(86, 27, 87, 28)


def sentinel_item(name, href="{band}.tif", **properties):
    """An item as other catalogues write it: STAC 1.0, eo:bands, several forms of an asset."""

    def asset(band, common, **extra):
        return {
            "href": href.format(band=band),
            "eo:bands": [{"name": band, "common_name": common}],
            "roles": ["data", "reflectance"],
            **extra,
        }

    assets = {
        "visual": {**asset("TCI", "red"), "roles": ["visual"]},
        "red": asset("B04", "red"),
        "red-jp2": asset("B04-jp2", "red"),
        "nir": asset("B08", "nir"),
        "aot": {"href": href.format(band="AOT"), "roles": ["data"]},
        "thumbnail": {"href": "https://example.org/t.jpg", "roles": ["thumbnail"]},
        "metadata": {"href": "https://example.org/m.xml", "roles": ["metadata"]},
    }
    return {
        "type": "Feature",
        "stac_version": "1.0.0",
        "stac_extensions": ["https://stac-extensions.github.io/eo/v1.0.0/schema.json"],
        "id": name,
        "geometry": shapely.geometry.mapping(BOX),
        "bbox": list(BOX.bounds),
        "properties": {
            "datetime": "2020-09-09T06:50:31.024000Z",
            "platform": "sentinel-2a",
            "instruments": ["msi"],
            "eo:cloud_cover": 7.5,
            "view:sun_azimuth": 155.5,
            "view:sun_elevation": 50.0,
            **properties,
        },
        "links": [],
        "assets": assets,
    }


def collect(items, out):
    steps = list(import_items(items, out))
    return steps, [step.broken for step in steps if step.broken is not None]


def write_items(path, items):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"type": "FeatureCollection", "features": items}))
    return path


def test_items_with_local_files_become_scenes(tmp_path):
    for band in ("B04", "B08"):
        fake.ones(tmp_path / "in" / f"{band}.tif")
    source = write_items(tmp_path / "in" / "items.json", [sentinel_item("a")])

    _, broken = collect(items_of_file(source), tmp_path / "out" / "c.parquet")

    assert broken == []
    (entry,) = read_catalog(tmp_path / "out" / "c.parquet").entries
    scene = entry.scene
    assert (scene.sensor_id, scene.cloud_percent) == ("sentinel-2", 7.5)
    assert {n: a.path.name for n, a in scene.bands.items()} == {"red": "B04.tif", "nir": "B08.tif"}
    assert scene.sun.azimuth == 155.5
    assert entry.footprint.geom.equals(BOX)
    with open_scene(scene) as reader:
        assert reader.grid.shape == (30, 50)


def test_items_elsewhere_are_kept_for_search_and_told_of(tmp_path):
    remote = sentinel_item("far", "https://example.org/{band}.tif")
    source = write_items(tmp_path / "items.json", [remote])
    out = tmp_path / "c.parquet"

    run = CliRunner().invoke(app, ["catalog", "import", str(source), "--out", str(out)])

    assert run.exit_code == 0
    (problem,) = read_problems(problems_beside(out))
    assert problem.kind is ProblemKind.REMOTE
    assert "lies at https://example.org/B04.tif; it can be searched" in problem.reason
    assert summarise(out).by_sensor == {"sentinel-2": 1}
    entries, broken = read_catalog(out)
    assert entries == ()
    assert "download the file and name it by a local path" in broken[0].reason


def test_a_static_catalogue_is_followed_to_its_items(tmp_path):
    for name in ("a", "b"):
        raster = fake.ones(tmp_path / "data" / f"{name}.tif", count=2)
        write_scene(scene_of(raster), tmp_path / "data" / f"{name}.json")
    items = [pystac.Item.from_file(str(tmp_path / "data" / f"{n}.json")) for n in ("a", "b")]
    extent = pystac.Extent(
        pystac.SpatialExtent([[-180, -90, 180, 90]]), pystac.TemporalExtent([[None, None]])
    )
    top = pystac.Catalog("top", "all")
    child = pystac.Collection("child", "some", extent)
    top.add_child(child)
    for item in items:
        item.make_asset_hrefs_absolute()
    child.add_items(items)
    top.normalize_and_save(str(tmp_path / "stac"), pystac.CatalogType.SELF_CONTAINED)

    _, broken = collect(items_of_file(tmp_path / "stac" / "catalog.json"), tmp_path / "c.parquet")

    assert broken == []
    assert [e.scene.id for e in read_catalog(tmp_path / "c.parquet").entries] == ["a", "b"]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"platform": "cubesat-9"}, "is of platform 'cubesat-9', which geoseg does not know"),
        ({"datetime": None}, "is not a STAC item that can be read"),
        ({"eo:cloud_cover": 120}, "has cloud_percent = 120.0; give 0 to 100"),
    ],
)
def test_an_item_that_is_none_is_told_of_and_leaves_the_others(tmp_path, change, reason):
    wrong = sentinel_item("b", **change)
    items = [sentinel_item("a"), wrong, {"id": "c"}, sentinel_item("a"), sentinel_item("d")]
    source = write_items(tmp_path / "items.json", items)

    steps, broken = collect(items_of_file(source), tmp_path / "c.parquet")

    assert steps[-1].taken == 2
    assert reason in broken[0].reason
    assert [b.id for b in broken] == ["b", "c", "a"]
    assert "holds an item named 'a' and is not the first to" in broken[2].reason
    assert len(read_catalog(tmp_path / "c.parquet").entries) == 2


def test_an_item_without_place_or_bands_is_told_of(tmp_path):
    bare = {**sentinel_item("bare"), "geometry": None, "bbox": None}
    dark = {**sentinel_item("dark"), "assets": {}}
    source = write_items(tmp_path / "items.json", [bare, dark])

    _, broken = collect(items_of_file(source), tmp_path / "c.parquet")

    assert "has no footprint; add 'geometry'" in broken[0].reason
    assert "has no asset that is one band of sentinel-2" in broken[1].reason


def test_a_link_that_leads_out_of_a_catalogue_is_refused(tmp_path):
    for href in ("../../other.json", "https://example.org/item.json", "/etc/passwd"):
        links = [{"rel": "item", "href": href}]
        path = tmp_path / "stac" / "catalog.json"
        path.parent.mkdir(exist_ok=True)
        path.write_text(json.dumps({"type": "Catalog", "id": "x", "links": links}))

        with pytest.raises(SceneError, match="which is not in its folder; download it there"):
            collect(items_of_file(path), tmp_path / "c.parquet")
    assert not (tmp_path / "c.parquet").exists()


def test_what_is_no_stac_is_refused(tmp_path):
    (tmp_path / "a.json").write_text('{"type": "Topology"}')

    with pytest.raises(SceneError, match="is no STAC catalogue, collection or item; give one"):
        list(items_of_file(tmp_path / "a.json"))
    with pytest.raises(SceneError, match="cannot be read"):
        list(items_of_file(tmp_path / "none.json"))


@pytest.fixture
def api():
    """A STAC API of three items, two of them a page."""
    asked = []
    base = ""
    items = [sentinel_item(n, "https://example.org/" + n + "/{band}.tif") for n in "abc"]

    class Handler(BaseHTTPRequestHandler):
        def _send(self, content, status=200):
            body = json.dumps(content).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/geo+json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def do_GET(self):
            if urlsplit(self.path).path != "/":
                self._send({"code": "NotFound"}, 404)
                return
            conforms = ["core", "item-search", "collections"]
            self._send(
                {
                    "type": "Catalog",
                    "id": "api",
                    "description": "of a test",
                    "stac_version": "1.0.0",
                    "conformsTo": [f"https://api.stacspec.org/v1.0.0/{c}" for c in conforms],
                    "links": [
                        {"rel": "self", "href": base},
                        {"rel": "root", "href": base},
                        {"rel": "search", "href": f"{base}search", "method": "POST",
                         "type": "application/geo+json"},
                    ],
                }
            )  # fmt: skip

        def do_POST(self):
            query = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            asked.append(query)
            if "broken" in query.get("collections", []):
                self._send({"code": "BadRequest", "description": "no such collection"}, 400)
                return
            first = query.get("token", 0)
            page = {"type": "FeatureCollection", "features": items[first : first + 2], "links": []}
            if first + 2 < len(items):
                page["links"].append(
                    {"rel": "next", "href": f"{base}search", "method": "POST",
                     "merge": True, "body": {"token": first + 2}}
                )  # fmt: skip
            self._send(page)

        def log_message(self, *arguments):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    base = f"http://127.0.0.1:{server.server_address[1]}/"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield base, asked
    server.shutdown()
    server.server_close()
    thread.join()


def test_an_api_is_searched_and_all_its_pages_are_taken(api, tmp_path):
    address, asked = api
    out = tmp_path / "c.parquet"

    run = CliRunner().invoke(
        app,
        ["catalog", "import", address, "--collections", "sentinel-2-l2a", "--bbox", "86,27,88,29",
         "--dates", "2020-09", "--out", str(out), "--json"],
    )  # fmt: skip

    assert run.exit_code == 0
    assert json.loads(run.stdout)["scenes"] == 3
    assert summarise(out).scenes == 3
    assert asked[0]["collections"] == ["sentinel-2-l2a"]
    assert asked[0]["bbox"] == [86, 27, 88, 29]
    assert asked[0]["datetime"] == "2020-09-01T00:00:00Z/2020-10-01T00:00:00Z"
    limited = list(items_of_api(address, ApiSearch(limit=1), out))
    assert [item.content["id"] for item in limited] == ["a"]


def test_an_api_that_fails_leaves_no_catalogue(api, tmp_path):
    address, _ = api
    out = tmp_path / "c.parquet"

    for place, search in (
        (address, ApiSearch(collections=("broken",))),
        (f"{address}nowhere", ApiSearch()),
        ("http://127.0.0.1:9/", ApiSearch()),
    ):
        with pytest.raises(DataError, match="does not answer as a STAC API") as caught:
            list(import_items(items_of_api(place, search, out), out))
        assert "\n" not in str(caught.value)
    assert not out.exists()


def test_without_pystac_client_the_remedy_is_named(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "pystac_client", None)

    with pytest.raises(ConfigError, match=r"install it with `pip install 'pystac-client>=0\.8'`"):
        next(items_of_api("http://127.0.0.1:9/", ApiSearch(), tmp_path / "c.parquet"))


def test_options_of_an_api_are_refused_for_a_file(tmp_path):
    source = write_items(tmp_path / "items.json", [])

    run = CliRunner().invoke(app, ["catalog", "import", str(source), "--dates", "2020"])

    assert "are asked of an API; use `geoseg catalog search`" in str(run.exception)
