"""The page in Chromium: what keys do, what is kept when the server dies, what names cannot do."""

import sqlite3
from contextlib import closing
from itertools import count

import pytest
from chromium import Served, browser, needs_chromium, until
from labelled_places import HOSTILE, ask_for, pack_places, some_places

from geoseg.active.project import open_project

pytestmark = [pytest.mark.browser, needs_chromium]

PLACES = some_places(8)


def serve(project, pack, *options):
    return Served("active", "serve", project, "--pack", pack, *options)


@pytest.fixture(scope="module")
def chromium():
    with browser() as started:
        yield started


@pytest.fixture(scope="module")
def pack(tmp_path_factory):
    return pack_places(tmp_path_factory.mktemp("pack"), PLACES).pack.folder


def make_project(folder):
    with ask_for(folder, PLACES) as project:
        project.record("place-0", "Bo", "absent", via="page")
    return folder


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return make_project(tmp_path_factory.mktemp("labelling") / "project")


@pytest.fixture(scope="module")
def served(folder, pack):
    server = serve(folder, pack)
    yield server
    server.kill()


@pytest.fixture
def mortal(tmp_path, pack):
    """A server that is to be killed."""
    server = serve(make_project(tmp_path / "project"), pack)
    yield server
    server.kill()


NUMBERS = count(1)


@pytest.fixture
def page(chromium, served):
    # Somebody else each time, who has answered nothing.
    yield from opened(chromium, served, f"Ada {next(NUMBERS)}")


def opened(chromium, served, name, before=""):
    context = chromium.new_context(viewport={"width": 1440, "height": 900})
    context.add_init_script(before)
    page = context.new_page()
    page.name = name
    page.wrong = []
    page.asked = []
    page.on("pageerror", lambda error: page.wrong.append(str(error)))
    page.on("console", lambda said: page.wrong.append(said.text) if said.type == "error" else None)
    page.on("request", lambda request: page.asked.append(request.url))
    page.goto(served.address)
    page.fill("#given", name)
    page.keyboard.press("Enter")
    shows(page, "place-0")
    yield page
    assert page.wrong == []
    assert all(url.startswith(served.address) for url in page.asked)
    context.close()


def shows(page, id_):
    until(lambda: page.inner_text("#place") == id_)
    page.wait_for_timeout(200)  # no key counts before anyone can have seen the place


def answers(folder, page):
    with open_project(folder) as project:
        return {one.item: one.said for one in project.answers() if one.annotator == page.name}


def press(page, *keys):
    for key in keys:
        page.keyboard.press(key)


def test_keys_answer_in_the_order_of_the_proposal_and_z_takes_back(page, folder):
    press(page, "y")
    shows(page, HOSTILE)
    press(page, "n")
    shows(page, "place-2")
    press(page, "u")
    shows(page, "place-3")
    kept = answers(folder, page)
    press(page, "z")
    shows(page, "place-2")
    press(page, "z")
    shows(page, HOSTILE)

    assert kept == {"place-0": "present", HOSTILE: "absent", "place-2": "unknown"}
    assert answers(folder, page) == {"place-0": "present"}
    press(page, "y")
    shows(page, "place-2")
    assert answers(folder, page)[HOSTILE] == "present"


def test_what_model_and_others_think_is_told_after_the_answer_and_not_before(page):
    before = page.inner_text("body")
    press(page, "y")
    shows(page, HOSTILE)

    assert "0.88" not in before
    assert "Bo" not in before
    assert page.inner_text("#said").startswith("place-0: present · model 0.88 · Bo: absent · ")
    until(lambda: page.inner_text("#progress").startswith("1 of 8"))


def test_a_hostile_name_is_shown_and_does_nothing(page):
    press(page, "n")
    shows(page, HOSTILE)

    assert page.inner_text("#place") == HOSTILE
    assert page.locator("img[src='x']").count() == 0
    assert page.title() == "project · labelling"
    press(page, "n")
    shows(page, "place-2")
    assert HOSTILE in page.inner_text("#before")


def test_a_name_of_a_person_is_text_everywhere(chromium, served, folder):
    hostile = "<b onclick=alert(1)>Eve</b>"
    for page in opened(chromium, served, hostile):
        press(page, "y")
        shows(page, HOSTILE)

        assert page.inner_text("#who") == hostile
        assert answers(folder, page) == {"place-0": "present"}


def test_the_name_is_asked_once_and_kept(page):
    page.reload()
    shows(page, "place-0")

    assert page.inner_text("#who") == page.name


TOO_SOON = """() => {
    const strike = (shown) => {
        if (performance.now() - shown > 100) return;  // a busy machine struck late
        document.body.dispatchEvent(new KeyboardEvent("keydown", { key: "n", bubbles: true }));
    };
    new MutationObserver(() => {
        const shown = performance.now();
        [0, 30, 60].forEach((ms) => setTimeout(strike, ms, shown));
    }).observe(document.getElementById("place"), { childList: true });
}"""


def test_a_key_that_comes_too_soon_or_is_held_down_answers_nothing(page, folder):
    page.evaluate(TOO_SOON)
    page.keyboard.down("y")
    for _ in range(20):
        page.keyboard.down("y")  # as a key does that is held
    page.keyboard.up("y")
    shows(page, HOSTILE)

    assert answers(folder, page) == {"place-0": "present"}


def test_nothing_moves_when_the_next_place_is_shown(page):
    def boxes():
        ids = ("head", "stage", "answers", "said", "next", "before", "frame")
        return [page.locator(f"#{id_}").bounding_box() for id_ in ids]

    before = boxes()
    press(page, "y")
    shows(page, HOSTILE)

    assert boxes() == before


def test_space_plays_the_dates_and_c_changes_the_bands(page):
    moment = page.inner_text("#moment")
    press(page, " ")
    until(lambda: page.inner_text("#moment") != moment)
    press(page, " ")
    press(page, "c")

    assert moment == "2021-07-14 · Sentinel-2 · 2 of 2"
    assert page.inner_text("#playing") == "play"
    assert page.inner_text("#composed") == "NIR, red, green"
    assert page.locator("#frame img.on").get_attribute("src").endswith("/nir.png")


def test_arrows_choose_an_image_and_look_back_at_what_was_answered(page, folder):
    press(page, "ArrowLeft")
    picked = page.locator(".column.picked").get_attribute("data-image")
    press(page, "y")
    shows(page, HOSTILE)
    press(page, "ArrowUp")
    shows(page, "place-0")
    press(page, "n")
    shows(page, HOSTILE)

    assert picked == "0"
    assert answers(folder, page) == {"place-0": "absent"}


def test_the_page_is_worked_by_tab_and_enter_alone(page, folder):
    for _ in range(40):
        press(page, "Tab")
        if page.evaluate("document.activeElement.textContent").endswith("absent"):
            break
    press(page, "Enter")
    shows(page, HOSTILE)

    assert answers(folder, page) == {"place-0": "absent"}


def test_a_click_on_a_button_answers_and_leaves_space_to_the_player(page, folder):
    page.click("#answers button >> text=present")
    shows(page, HOSTILE)
    press(page, " ")
    page.wait_for_timeout(300)

    assert answers(folder, page) == {"place-0": "present"}
    assert page.inner_text("#playing") == "stop"


def test_when_all_is_answered_the_page_says_so_and_takes_up_the_next_round(page, folder):
    for place in PLACES[1:]:
        press(page, "y")
        shows(page, place.id)
    press(page, "y")
    shows(page, "All places are answered")
    press(page, "y", " ", "d", "ArrowRight")

    assert len(answers(folder, page)) == 8
    press(page, "z")
    shows(page, "place-7")


def test_a_list_that_comes_late_brings_back_nothing_that_was_answered_since(page):
    held, kept = [], []

    def hold(route):
        if kept:
            route.continue_()
        else:
            held.append((route, route.fetch()))

    for id_ in (HOSTILE, "place-2"):
        press(page, "y")
        shows(page, id_)
    page.route("**/api/queue*", hold)
    press(page, "y")  # few are left: the page asks for more
    shows(page, "place-3")
    until(lambda: page.wait_for_timeout(20) or held)
    press(page, "y")
    shows(page, "place-4")
    kept.append(True)
    for route, answer in held:
        route.fulfill(response=answer)
    press(page, "y")
    shows(page, "place-5")
    press(page, "y")
    shows(page, "place-6")

    assert page.inner_text("#before li:first-child .id") == "place-5"


def test_an_answer_is_kept_while_the_server_is_away_and_counts_once(chromium, mortal, tmp_path):
    for page in opened(chromium, mortal, "Ada"):
        mortal.kill()
        press(page, "y")
        until(lambda page=page: "1 unsent" in page.inner_text("#saved"))
        shown = page.inner_text("#place")
        press(page, "n")
        mortal.start()
        shows(page, HOSTILE)

        assert shown == "place-0"
        assert page.inner_text("#saved") == "all saved"
        assert answers(tmp_path / "project", page) == {"place-0": "present"}
        assert rows(tmp_path / "project") == 2
        page.wrong.clear()  # that nobody answered is told there too


def test_an_answer_outlives_the_page_that_could_not_send_it(chromium, mortal, tmp_path):
    for page in opened(chromium, mortal, "Ada"):
        mortal.kill()
        press(page, "y")
        until(lambda page=page: "1 unsent" in page.inner_text("#saved"))
        mortal.start()
        page.reload()
        shows(page, HOSTILE)

        assert answers(tmp_path / "project", page) == {"place-0": "present"}
        assert rows(tmp_path / "project") == 2
        page.wrong.clear()


def test_what_is_refused_of_what_was_kept_holds_nothing_else_up(chromium, mortal, tmp_path):
    for page in opened(chromium, mortal, "Ada"):
        mortal.kill()
        press(page, "y")
        until(lambda page=page: "1 unsent" in page.inner_text("#saved"))
        # Before it in the order of their names, and of a class that the project has not.
        page.evaluate("""() => {
            const place = Object.keys(localStorage).find((key) => key.includes("/unsent/"));
            const { path, body } = JSON.parse(localStorage.getItem(place));
            const wrong = JSON.stringify({ ...JSON.parse(body), said: "lake" });
            localStorage.setItem(
                place.replace(/unsent.*/, "unsent/0"), JSON.stringify({ path, body: wrong }));
        }""")
        mortal.start()
        page.reload()
        shows(page, HOSTILE)

        assert "Of what was kept here 1 was refused" in page.inner_text("#said")
        assert page.inner_text("#saved") == "all saved"
        assert answers(tmp_path / "project", page) == {"place-0": "present"}
        page.wrong.clear()


NO_STORAGE = {
    "full": "Storage.prototype.setItem = () => { throw new DOMException('', 'Quota') }",
    "switched off": """Object.defineProperty(window, "localStorage", {
        get() { throw new DOMException("", "SecurityError"); } })""",
}


@pytest.mark.parametrize("why", NO_STORAGE)
def test_an_answer_that_the_browser_cannot_keep_is_sent_and_the_page_says_so(
    chromium, mortal, tmp_path, why
):
    for page in opened(chromium, mortal, "Ada", before=NO_STORAGE[why]):
        mortal.kill()
        press(page, "y")
        until(lambda page=page: "1 unsent; trying again; this browser" in page.inner_text("#saved"))
        mortal.start()
        shows(page, HOSTILE)

        assert page.inner_text("#saved") == (
            "all saved; this browser keeps nothing, leave the page open while it saves"
        )
        assert answers(tmp_path / "project", page) == {"place-0": "present"}
        page.wrong.clear()


def rows(folder):
    with closing(sqlite3.connect(folder / "project.sqlite")) as database:
        return database.execute("SELECT count(*) FROM answer").fetchone()[0]


def outlines(folder, page):
    with open_project(folder) as project:
        return [one for one in project.outlines("place-0") if one.annotator == page.name]


def draw(page):
    press(page, "d")
    page.wait_for_selector("#draw svg")


def test_an_outline_is_drawn_by_clicks_where_they_are_on_the_image(page, folder):
    draw(page)
    box = page.locator("#draw svg").first.bounding_box()
    for x, y in ((1, 1), (8, 1), (8, 5), (1, 5)):
        page.mouse.click(box["x"] + box["width"] * x / 9, box["y"] + box["height"] * y / 6)
    press(page, "Enter")
    until(lambda: page.inner_text("#draw .message") == "Saved.")

    [drawn] = outlines(folder, page)
    assert (drawn.class_, drawn.image) == ("present", 1)
    assert drawn.geometry["coordinates"][0] == [[1, 1], [8, 1], [8, 5], [1, 5], [1, 1]]
    press(page, "Escape")
    assert page.locator("#draw").is_hidden()
    assert page.locator(".column[data-image='1'] .lines path").count() == 2


def test_an_outline_is_drawn_mended_and_erased_by_keys_alone(page, folder):
    draw(page)
    press(page, "[", "1")
    for keys in (["Shift+ArrowLeft"], ["ArrowDown"] * 2, ["ArrowRight"] * 3):
        press(page, *keys, " ")
    press(page, "Enter")
    until(lambda: page.inner_text("#draw .message") == "Saved.")
    [drawn] = outlines(folder, page)
    # The only one on this image is mended: its nearest corner goes up by one pixel.
    press(page, "m", "p", "ArrowUp", "p", "Enter")
    until(lambda: outlines(folder, page)[0].number != drawn.number)
    until(lambda: page.inner_text("#draw .message") == "Saved.")
    [mended] = outlines(folder, page)
    press(page, "m", "x")
    until(lambda: not outlines(folder, page))

    assert (drawn.class_, drawn.image) == ("absent", 0)
    assert drawn.geometry["coordinates"][0][:3] == [[0, 3], [0, 5], [3, 5]]
    assert mended.geometry["coordinates"][0][:3] == [[0, 3], [0, 5], [3, 4]]


def test_a_mask_is_mended_into_an_outline_of_the_person(page, folder):
    draw(page)
    before = page.locator("#draw path.mask").count()
    press(page, "Escape", "y")
    shows(page, HOSTILE)
    press(page, "ArrowUp")
    shows(page, "place-0")
    draw(page)
    press(page, "m", "Enter")
    until(lambda: outlines(folder, page))
    assert before == 0

    [drawn] = outlines(folder, page)
    corners = {tuple(corner) for corner in drawn.geometry["coordinates"][0]}
    assert corners == {(3, 2), (7, 2), (7, 5), (3, 5)}


def test_an_outline_that_crosses_itself_is_refused_in_words_and_stays_to_be_mended(page, folder):
    draw(page)
    press(page, "[")
    box = page.locator("#draw svg").first.bounding_box()
    for x, y in ((1, 1), (8, 5), (8, 1), (1, 5)):
        page.mouse.click(box["x"] + box["width"] * x / 9, box["y"] + box["height"] * y / 6)
    press(page, "Enter")
    until(lambda: "no simple polygon" in page.inner_text("#draw .message"))

    assert outlines(folder, page) == []
    assert page.locator("#draw circle").count() == 4
    page.wrong.clear()


def test_two_pages_of_one_browser_keep_what_each_could_not_send(chromium, mortal, tmp_path):
    for page in opened(chromium, mortal, "Ada"):
        other = page.context.new_page()
        other.goto(mortal.address)
        shows(other, "place-0")
        press(other, "n")
        shows(other, HOSTILE)
        mortal.kill()
        press(page, "y")
        press(other, "u")
        until(lambda page=page: "2 unsent" in page.inner_text("#saved"))
        other.close()
        page.close()
        mortal.start()
        again = page.context.new_page()
        again.goto(mortal.address)
        shows(again, "place-2")

        assert answers(tmp_path / "project", page) == {"place-0": "present", HOSTILE: "unknown"}
        assert rows(tmp_path / "project") == 4
        page.wrong.clear()


def test_for_other_machines_the_secret_address_opens_the_page_and_no_other_does(
    chromium, folder, pack
):
    served = serve(folder, pack, "--host", "0.0.0.0", "--annotator", "Eve")
    try:
        port, secret = served.address.split(":")[2].split("/")
        page = chromium.new_context().new_page()
        page.name = "Eve"
        refused = page.goto(f"http://127.0.0.1:{port}/")
        page.goto(f"http://127.0.0.1:{port}/{secret}")
        shows(page, "place-0")
        press(page, "y")
        shows(page, HOSTILE)
    finally:
        served.kill()

    assert refused.status == 401
    assert page.url == f"http://127.0.0.1:{port}/"
    assert answers(folder, page) == {"place-0": "present"}


def test_of_many_classes_each_has_its_digit(chromium, tmp_path, pack):
    with ask_for(tmp_path / "project", PLACES, classes=("none", "slump", "pond", "burn")):
        served = serve(tmp_path / "project", pack)
    try:
        for page in opened(chromium, served, "Ada"):
            press(page, "3")
            shows(page, HOSTILE)
            press(page, "y", "5", "4")
            shows(page, "place-2")
    finally:
        served.kill()

    assert answers(tmp_path / "project", page) == {"place-0": "pond", HOSTILE: "burn"}
