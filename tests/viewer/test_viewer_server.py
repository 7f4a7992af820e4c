"""What the server of the page of a folder tells, and what it keeps to itself."""

import base64
import hashlib
import io
import math
import sys
from importlib.resources import files

import geopandas as gpd
import numpy as np
import pyogrio
import pytest
import shapely
from command_line import geoseg_here
from inventory.small_inventory import ICE, NAME, small_inventory
from PIL import Image
from starlette.routing import Route
from starlette.testclient import TestClient
from viewer.test_viewer_tiles import tile_of
from viewer.viewed_folder import HEIGHT, HOSTILE, VOID, WIDTH, look, make_folder

from geoseg.page import local
from geoseg.page.policy import SERVED
from geoseg.viewer import server
from geoseg.viewer.server import make_app

HERE = "http://127.0.0.1:8766"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return make_folder(tmp_path_factory.mktemp("run"))


@pytest.fixture(scope="module")
def contents(folder):
    return look(folder)


@pytest.fixture(scope="module")
def page(contents):
    return TestClient(make_app(contents, "run"), base_url=HERE)


@pytest.fixture(scope="module")
def told(page):
    return page.get("/api/contents").json()


def number_of(told, group, title):
    names = [one["name"] for one in told["groups"]]
    return next(
        n
        for n, item in enumerate(told["items"])
        if (names[item["group"]], item["title"]) == (group, title)
    )


def address(told, group, title, choice, tile):
    number = number_of(told, group, title)
    zoom, across, down = tile
    stamp = told["items"][number]["stamp"]
    return f"/tile/{number}/{stamp}/{choice}/{zoom}/{across}/{down}.png"


def colour(page, told, group, choice, *, at, zoom=12, title="sentinel-2_20201012"):
    """Red, green, blue and alpha of what lies at a row and column of the folder's rasters."""
    tile, inside = tile_of(*at, zoom)
    answer = page.get(address(told, group, title, choice, tile))
    assert answer.headers["content-type"] == "image/png"
    return np.asarray(Image.open(io.BytesIO(answer.content)))[inside].astype(int)


@pytest.mark.parametrize("zoom", [9, 12, 14])
def test_a_scene_is_shown_in_its_colours(page, told, zoom):
    east = colour(page, told, "Scenes", "rgb", at=(130, 380), zoom=zoom)
    west = colour(page, told, "Scenes", "rgb", at=(130, 60), zoom=zoom)
    north = colour(page, told, "Scenes", "rgb", at=(15, 200), zoom=zoom)

    assert east[0] > 230
    assert west[0] < 40
    assert north[1] > 230
    assert east[3] == 255
    infrared = colour(page, told, "Scenes", "nir", at=(130, 380), zoom=zoom)
    assert infrared[0] < 30


def test_a_scene_is_stretched_alike_on_all_tiles(page, told):
    """Each alone, the tiles below would each have a black west and a red east."""
    reds = [
        colour(page, told, "Scenes", "rgb", at=(130, column), zoom=15)[0]
        for column in range(VOID + 10, WIDTH, 40)
    ]

    assert np.all(np.diff(reds) > 10)


def test_what_has_no_data_is_seen_through(page, told):
    assert colour(page, told, "Scenes", "rgb", at=(130, VOID // 2))[3] == 0
    assert colour(page, told, "Classes", "classes", at=(HEIGHT - 4, 200))[3] == 0
    assert colour(page, told, "Probability", "clean_ice", at=(HEIGHT - 4, 200))[3] > 0


def test_classes_have_their_colours_and_the_ground_has_none(page, told):
    ice = colour(page, told, "Classes", "classes", at=(60, 100))
    ground = colour(page, told, "Classes", "classes", at=(60, 300))

    assert ice.tolist() == [0x7F, 0xD0, 0xEE, 255]
    assert ground[3] == 0


def test_a_probability_goes_up_its_ramp_and_fades_where_there_is_none(page, told):
    low, middle, high = (
        colour(page, told, "Probability", "clean_ice", at=(60, column)) for column in (4, 200, 396)
    )

    assert low[3] < 30
    assert middle.tolist()[:3] == pytest.approx([0x21, 0x91, 0x8C], abs=6)
    assert high.tolist() == pytest.approx([0xFD, 0xE7, 0x25, 255], abs=12)
    assert colour(page, told, "Probability", "debris_ice", at=(60, 300))[3] == 0
    assert colour(page, told, "Uncertainty", "uncertainty", at=(60, 396))[0] < 200


def outlines(page, told, survey, box=(86, 27, 88, 29), zoom=13):
    asked = dict(zip(("west", "south", "east", "north"), box, strict=True))
    number = number_of(told, "Inventory: inventory.gpkg", survey)
    return page.get("/api/outlines", params={"n": number, "zoom": zoom, **asked}).json()


def test_the_outlines_of_a_survey_are_told_with_what_is_known_of_them(page, told):
    known = small_inventory().outlines
    own = known[known["survey"] == "2000"]

    found = outlines(page, told, "2000")["features"]

    assert len(found) == len(own)
    ice = next(one["properties"] for one in found if one["properties"]["title"] == NAME)
    about = dict(ice["about"])
    row = own[own["track_id"] == ICE].iloc[0]
    assert about["id"] == ICE
    assert about["date"] == "2000-10-30"
    value, half = (float(part) for part in about["area"].removesuffix(" km²").split(" ± "))
    assert value == pytest.approx(row["area_km2"], rel=0.05)
    assert half == pytest.approx(1.645 * row["area_unc_km2"], rel=0.1)
    assert ice["class"] == "glacier"


def test_outlines_lie_where_they_are_and_lose_corners_from_afar(page, told):
    known = small_inventory().outlines.to_crs("EPSG:4326")
    own = known[(known["survey"] == "2000") & (known["track_id"] == ICE)].geometry.iloc[0]

    def drawn(zoom):
        found = outlines(page, told, "2000", zoom=zoom)["features"]
        one = next(one for one in found if one["properties"]["title"] == NAME)
        return shapely.geometry.shape(one["geometry"])

    near, far = drawn(20), drawn(9)
    corners = [shapely.get_num_coordinates(shape) for shape in (own, near, far)]
    assert corners[1] > 0.9 * corners[0]
    assert corners[2] < corners[1] / 3
    assert shapely.area(shapely.symmetric_difference(near, own)) < 1e-4 * own.area
    assert shapely.area(shapely.symmetric_difference(far, own)) < 0.1 * own.area


def test_only_what_lies_in_the_view_is_told_and_of_too_many_the_largest(page, told, monkeypatch):
    west = outlines(page, told, "2000", box=(86, 27, 86.65, 29))["features"]
    whole = outlines(page, told, "2000")
    monkeypatch.setattr("geoseg.viewer.outlines._MOST", 2)
    few = outlines(page, told, "2000")

    assert 0 < len(west) < len(whole["features"])
    assert whole["left_out"] == 0
    assert few["left_out"] == len(whole["features"]) - 2
    areas = [shapely.geometry.shape(one["geometry"]).area for one in whole["features"]]
    kept = [shapely.geometry.shape(one["geometry"]).area for one in few["features"]]
    assert sorted(kept) == pytest.approx(sorted(areas)[-2:])


@pytest.mark.parametrize(
    "path",
    [
        "/static/..%2f..%2fserver.py",
        "/static/../server.py",
        "/static//etc/passwd",
        "/static/leaflet-LICENSE.txt",
        "/tile/{n}/{stamp}/rgb/12/..%2f..%2f/1.png",
        "/tile/..%2f{n}/{stamp}/rgb/9/379/213.png",
        "/tile/{n}/{stamp}/..%2f..%2finventory.gpkg/9/379/213.png",
        "/tile/{n}/{stamp}/change/9/379/213.png",
        "/tile/{n}/000000000000/rgb/9/379/213.png",
        "/tile/99/{stamp}/rgb/9/379/213.png",
        "/tile/-1/{stamp}/rgb/9/379/213.png",
        "/tile/{n}/{stamp}/rgb/9/512/213.png",
        "/tile/{n}/{stamp}/rgb/99/0/0.png",
        "/tile/{o}/{stamp_o}/outlines/9/379/213.png",
        "/inventory.gpkg",
        "/map/classes.tif",
        "/api/outlines?n={n}&zoom=9&west=0&south=0&east=1&north=1",
        "/api/outlines?n={o}&zoom=9&west=nan&south=0&east=1&north=1",
        "/api/outlines?n={o}&zoom=99&west=0&south=0&east=1&north=1",
        "/api/outlines?n={o}&zoom=9&west=a&south=0&east=1&north=1",
        "/api/outlines?n={o}&zoom=9",
    ],
)
def test_nothing_else_can_be_had(page, told, path):
    n = number_of(told, "Scenes", "sentinel-2_20201012")
    o = number_of(told, "Inventory: inventory.gpkg", "2000")
    stamps = {"stamp": told["items"][n]["stamp"], "stamp_o": told["items"][o]["stamp"]}

    assert page.get(path.format(n=n, o=o, **stamps)).status_code == 404


def test_names_are_told_as_they_are_and_no_path_of_the_machine_is(page, told, folder):
    text = page.get("/api/contents").text

    assert HOSTILE in [item["title"] for item in told["items"]]
    assert str(folder) not in text
    assert "<img" not in page.get("/").text


def test_the_front_end_asks_nobody_else_and_may_not(page):
    front = page.get("/")
    own = [name for name in server._STATIC if not name.startswith("leaflet")]
    for text in (front.text, *(page.get(f"/static/{name}").text for name in own)):
        assert "://" not in text
        assert "innerHTML" not in text
        assert "style=" not in text
    assert {page.get(f"/static/{name}").status_code for name in server._STATIC} == {200}
    assert {page.get(f"/static/{name}").status_code for name in local._SHARED} == {200}
    assert front.headers["content-security-policy"] == SERVED


def test_leaflet_is_what_its_makers_publish():
    """The digests are those that Leaflet 1.9.4 gives for its files on content delivery networks."""
    published = {
        "leaflet.js": "20nQCchB9co0qIjJZRGuk2/Z9VM+kNiyxNV1lvTlZBo=",
        "leaflet.css": "p4NxAoJBhIIN+hmNHrzRCf9tD/miZyoHS5obTRR9BMY=",
    }
    static = files("geoseg.viewer") / "static"

    for name, digest in published.items():
        content = (static / name).read_bytes()
        assert base64.b64encode(hashlib.sha256(content).digest()).decode() == digest
    assert "BSD 2-Clause" in (static / "leaflet-LICENSE.txt").read_text()


def test_for_other_machines_every_request_needs_the_token(contents, told):
    app = make_app(contents, "run", host="0.0.0.0", token="a-secret")
    page = TestClient(app, base_url="http://10.1.2.3:8766")
    tile, _ = tile_of(130, 200, 12)

    asked = ("/", "/api/contents", address(told, "Scenes", "sentinel-2_20201012", "rgb", tile))
    assert {page.get(path).status_code for path in asked} == {401}
    page.headers["Authorization"] = "Bearer a-secret"
    assert {page.get(path).status_code for path in asked} == {200}


def test_tiles_may_be_kept_and_what_is_found_may_not(page, told):
    tile, _ = tile_of(130, 200, 12)
    kept = page.get(address(told, "Scenes", "sentinel-2_20201012", "rgb", tile))

    assert "immutable" in kept.headers["cache-control"]
    assert page.get("/api/contents").headers["cache-control"] == "no-store"
    assert math.isfinite(told["items"][0]["bounds"][0])


def test_a_file_that_is_lost_meanwhile_is_told_of_in_a_sentence(tmp_path):
    folder = make_folder(tmp_path / "run")
    contents = look(folder)
    page = TestClient(make_app(contents, "run"), base_url=HERE)
    told = page.get("/api/contents").json()
    tile, _ = tile_of(130, 200, 12)
    (folder / "map" / "classes.tif").unlink()

    answer = page.get(address(told, "Classes", "sentinel-2_20201012", "classes", tile))

    assert answer.status_code == 500
    assert "does not exist" in answer.json()["error"]


def test_outlines_that_are_lost_meanwhile_are_told_of_in_a_sentence(tmp_path):
    folder = make_folder(tmp_path / "run")
    page = TestClient(make_app(look(folder), "run"), base_url=HERE)
    told = page.get("/api/contents").json()
    (folder / "inventory.gpkg").unlink()

    number = number_of(told, "Inventory: inventory.gpkg", "2000")
    box = {"west": 86, "south": 27, "east": 88, "north": 29}
    answer = page.get("/api/outlines", params={"n": number, "zoom": 9, **box})

    assert answer.status_code == 400
    assert "inventory.gpkg cannot be read" in answer.json()["error"]


def outlines_of_anybody(folder):
    """Texts where numbers are expected, and corners that lie nowhere."""
    nowhere = [
        shapely.Polygon([(0, 0), (1, 0), (value, 1)]) for value in (float("nan"), float("inf"))
    ]
    table = gpd.GeoDataFrame(
        {
            "area_km2": ["about 5", "7.5", "1", "1"],
            "area_unc_km2": ["", "0.5", "", ""],
            "probability": ["high", "0.25", "", ""],
        },
        geometry=[shapely.box(0, 0, 1, 1), shapely.box(1, 0, 2, 1), *nowhere],
        crs="EPSG:4326",
    )
    folder.mkdir()
    pyogrio.write_dataframe(table, folder / "a.gpkg", geometry_type="Polygon")
    return folder


@pytest.mark.filterwarnings("ignore:invalid value")
def test_texts_in_place_of_numbers_and_corners_that_lie_nowhere_are_left_out(tmp_path):
    contents = look(outlines_of_anybody(tmp_path / "theirs"))
    page = TestClient(make_app(contents, "theirs"), base_url=HERE)

    box = {"west": -9, "south": -9, "east": 9, "north": 9}
    answer = page.get("/api/outlines", params={"n": 0, "zoom": 9, **box})

    assert answer.status_code == 200
    about = [dict(one["properties"]["about"]) for one in answer.json()["features"]]
    assert [one.get("probability") for one in about] == [None, "0.25"]
    assert "area" not in about[0]
    assert about[1]["area"].startswith("7.5")


def test_a_fault_of_geoseg_is_told_to_the_page_as_all_others_are():
    def break_down(_):
        raise ZeroDivisionError

    app = local.local_app(
        [Route("/api/broken", break_down)],
        package="geoseg.viewer",
        parts={},
        host="127.0.0.1",
        token=None,
    )
    answer = TestClient(app, base_url=HERE, raise_server_exceptions=False).get("/api/broken")

    assert answer.status_code == 500
    assert answer.json()["error"].startswith("geoseg failed at this")


def test_the_command_refuses_a_folder_that_holds_nothing(tmp_path):
    refused = geoseg_here("view", tmp_path)

    assert refused.returncode == 2
    assert "holds nothing that can be shown" in " ".join(refused.stderr.split())


def test_without_a_server_installed_the_command_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    for module in ("geoseg.viewer.server", "geoseg.page.local"):
        monkeypatch.delitem(sys.modules, module)

    refused = geoseg_here("view", tmp_path)

    assert refused.returncode == 2
    remedy = "run pip install 'starlette>=1.0' 'uvicorn>=0.40'"
    assert refused.stderr == f"Error: The page needs uvicorn; {remedy}.\n"
