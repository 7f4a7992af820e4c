"""The page of a folder in Chromium: what is drawn, what switches do, what names cannot do."""

import re

import pytest
from chromium import Served, browser, needs_chromium, until
from inventory.small_inventory import CALM, ICE, NAME, small_inventory
from viewer.viewed_folder import HOSTILE, make_folder

pytestmark = [pytest.mark.browser, needs_chromium]

INVENTORY = "Inventory: inventory.gpkg"


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    server = Served("view", make_folder(tmp_path_factory.mktemp("view") / "run"))
    yield server
    server.kill()


@pytest.fixture(scope="module")
def chromium():
    with browser() as started:
        yield started


@pytest.fixture
def page(chromium, served):
    context = chromium.new_context(viewport={"width": 1280, "height": 800})
    page = context.new_page()
    page.wrong, page.asked = [], []
    page.on("pageerror", lambda error: page.wrong.append(str(error)))
    page.on("console", lambda said: page.wrong.append(said.text) if said.type == "error" else None)
    page.on("request", lambda request: page.asked.append(request.url))
    page.goto(served.address)
    page.wait_for_selector("html.ready")
    settled(page)
    yield page
    assert page.wrong == []
    assert all(url.startswith(served.address) for url in page.asked)
    context.close()


def settled(page):
    """Wait until all that was asked for is drawn."""
    page.wait_for_load_state("networkidle")
    page.wait_for_timeout(400)  # tiles fade in


def row(page, group):
    return page.locator("#layers > li").filter(
        has=page.locator(".switch", has_text=re.compile(f"^{re.escape(group)}$"))
    )


def lines(page):
    """How many outlines can be clicked."""
    return page.locator("#map path.leaflet-interactive").count()


def tiles(page):
    """The addresses of the tiles that show something, without the place of each."""
    shown = page.eval_on_selector_all(
        "#map img.leaflet-tile-loaded",
        "tiles => tiles.filter(t => t.naturalWidth === 256).map(t => t.getAttribute('src'))",
    )
    return {"/".join(address.split("/")[:4]) for address in shown}


def of_survey(name):
    known = small_inventory().outlines
    return int((known["survey"] == name).sum())


def test_the_newest_scene_and_its_outlines_are_drawn_first(page):
    assert page.inner_text("#name") == "run"
    assert page.inner_text("#now") == "2020-10-12"
    assert lines(page) == of_survey("2020")
    assert len(tiles(page)) == 1
    assert "sentinel-2_20201012" in row(page, "Scenes").inner_text()
    assert len([url for url in page.asked if "/tile/" in url]) >= 4


def test_the_slider_goes_through_the_dates(page):
    newest = tiles(page)
    page.focus("#time")
    page.keyboard.press("ArrowLeft")
    settled(page)

    assert page.inner_text("#now") == "2000-10-30"
    assert lines(page) == of_survey("2000")
    assert len(tiles(page)) == 1
    assert tiles(page) != newest
    page.keyboard.press("ArrowLeft")
    settled(page)
    assert page.inner_text("#now") == "1964-11-20"
    assert lines(page) == of_survey("1964")
    assert tiles(page) == set()
    assert "nothing of this date" in row(page, "Scenes").inner_text()


def test_play_begins_anew_and_ends_at_the_newest(page):
    page.click("#play")
    until(lambda: page.inner_text("#now") == "1964-11-20")
    until(lambda: page.inner_text("#now") == "2020-10-12")
    until(lambda: page.inner_text("#play") == "Play")
    settled(page)

    assert lines(page) == of_survey("2020")


def test_a_switch_takes_a_layer_off_and_puts_it_on(page):
    row(page, INVENTORY).locator("input[type=checkbox]").uncheck()
    row(page, "Scenes").locator("input[type=checkbox]").uncheck()
    settled(page)
    none = lines(page), tiles(page)
    row(page, "Classes").locator("input[type=checkbox]").check()
    settled(page)

    assert none == (0, set())
    assert [address.split("/")[3] for address in tiles(page)] == ["classes"]
    legend = row(page, "Classes").locator(".legend").inner_text()
    assert "clean ice" in legend
    assert "thaw slump" in legend


def test_what_is_chosen_is_shown(page):
    row(page, "Scenes").locator("select").select_option("nir")
    row(page, "Probability").locator("input[type=checkbox]").check()
    row(page, "Probability").locator("select").select_option(label="debris ice")
    settled(page)

    assert {address.split("/")[3] for address in tiles(page)} == {"nir", "debris_ice"}


def test_opacity_fades_tiles_and_outlines(page):
    for group in ("Scenes", INVENTORY):
        fader = row(page, group).locator(".set input[type=range]")
        fader.fill("0.4")

    faded = page.eval_on_selector_all(
        "#map .leaflet-layer", "layers => layers.map(one => one.style.opacity)"
    )
    panes = page.eval_on_selector_all(
        "#map .leaflet-pane:has(> svg path)", "panes => panes.map(one => one.style.opacity)"
    )
    assert faded == ["0.4"]
    assert panes == ["0.4"]


def click_on(page, track):
    """Click where an outline lies, reckoned from the place under the middle of the map."""
    known = small_inventory().outlines
    own = known[(known["track_id"] == track) & (known["survey"] == "2020")].to_crs("EPSG:4326")
    point = own.geometry.iloc[0].representative_point()
    box = page.locator("#map").bounding_box()
    left, right = (east(page, box, share) for share in (0.3, 0.7))
    top, bottom = (north(page, box, share) for share in (0.3, 0.7))
    across = 0.3 + 0.4 * (point.x - left) / (right - left)
    down = 0.3 + 0.4 * (point.y - top) / (bottom - top)
    page.mouse.click(box["x"] + across * box["width"], box["y"] + down * box["height"])


def under(page, box, across, down):
    page.mouse.move(box["x"] + across * box["width"], box["y"] + down * box["height"])
    told = page.inner_text("#cursor")
    lat, ns, lon, ew = re.fullmatch(r"([\d.]+)° ([NS]), ([\d.]+)° ([EW])", told).groups()
    assert (ns, ew) == ("N", "E")
    return float(lon), float(lat)


def east(page, box, share):
    return under(page, box, share, 0.5)[0]


def north(page, box, share):
    return under(page, box, 0.5, share)[1]


def test_an_outline_tells_of_itself_where_it_lies_and_its_name_is_text(page):
    click_on(page, ICE)
    page.wait_for_selector(".about")
    title, told = page.inner_text(".about h2"), page.inner_text(".about dl")

    assert title == NAME
    assert page.locator(".about b").count() == 0
    assert ICE in told
    assert re.search(r"[\d.]+ ± [\d.]+ km²", told)
    assert "2020-10-12" in told
    click_on(page, CALM)
    until(lambda: page.locator(".about").count() == 1 and page.inner_text(".about h2") == CALM)
    settled(page)
    size = page.locator(".leaflet-popup").bounding_box()
    assert size["width"] > 250 > size["height"]  # no column of letters
    assert lines(page) == of_survey("2020")


def test_a_hostile_name_of_a_file_is_text(page):
    row(page, "Other rasters").locator("input[type=checkbox]").check()
    settled(page)

    assert HOSTILE in row(page, "Other rasters").inner_text()
    assert page.locator("img[src='x']").count() == 0
    assert len(tiles(page)) == 2


def test_the_cursor_tells_where_it_is(page):
    box = page.locator("#map").bounding_box()
    lon, lat = under(page, box, 0.5, 0.5)

    assert lon == pytest.approx(86.695, abs=0.03)
    assert lat == pytest.approx(27.948, abs=0.03)


def test_zooming_in_fetches_outlines_with_more_corners_and_show_all_goes_back(page):
    def corners():
        paths = page.eval_on_selector_all(
            "#map path.leaflet-interactive", "paths => paths.map(p => p.getAttribute('d').length)"
        )
        return sum(paths)

    before = corners()
    asked = len([url for url in page.asked if "/api/outlines" in url])
    for _ in range(3):
        page.keyboard.press("Escape")
        page.click(".leaflet-control-zoom-in")
        settled(page)
    near = len([url for url in page.asked if "/api/outlines" in url])
    page.click("#whole")
    settled(page)

    assert near > asked
    assert corners() == pytest.approx(before, rel=0.05)


def test_what_cannot_be_shown_is_listed(chromium, tmp_path):
    folder = make_folder(tmp_path / "run")
    (folder / "<b>cut.tif").write_bytes(b"II*\0")
    served = Served("view", folder)
    try:
        page = chromium.new_page()
        page.goto(served.address)
        page.wait_for_selector("html.ready")
        page.click("#problems summary")
        listed = page.inner_text("#problems ul")
        page.close()
    finally:
        served.kill()

    assert listed.startswith("<b>cut.tif ")
    assert "cannot be opened as a raster" in listed
