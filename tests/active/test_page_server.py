"""What the page's server tells, takes and refuses."""

import io
import json
import math
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from dataclasses import replace

import numpy as np
import pytest
from command_line import GEOSEG, geoseg_here
from labelled_places import HOSTILE, ask_for, pack_places, place, some_places
from PIL import Image
from starlette.testclient import TestClient

from geoseg.active.page import agreed, server
from geoseg.active.page.agreed import Agreed
from geoseg.active.page.desk import Desk
from geoseg.active.page.server import make_app, serve
from geoseg.active.project import Drawn
from geoseg.errors import ConfigError, DataError, OutputError
from geoseg.page import local
from geoseg.page.guard import is_loopback
from geoseg.page.policy import SERVED

HERE = "http://127.0.0.1:8765"
TOKEN = "a-secret"


PLACES = some_places(6)


def map_link(lon, lat):
    return f"map of {lon} {lat}" if math.isfinite(lon + lat) else None


@pytest.fixture(scope="module")
def finder(tmp_path_factory):
    return pack_places(tmp_path_factory.mktemp("pack"), PLACES)


@pytest.fixture
def project(tmp_path):
    with ask_for(tmp_path / "project", PLACES[:5]) as made:
        yield made


@pytest.fixture
def desk(project, finder):
    return Desk(project, finder, map_link)


@pytest.fixture
def page(desk):
    return TestClient(make_app(desk), base_url=HERE, headers={"Origin": HERE})


def post(page, path, project, **said):
    return page.post(f"/api/{path}", json={"project": project.key, "annotator": "Ada", **said})


def answer(page, project, number, said="present", sent="k", **other):
    return post(page, "answer", project, place=number, said=said, sent=sent, **other)


SQUARE = {"type": "Polygon", "coordinates": [[[1, 1], [5, 1], [5, 4], [1, 4], [1, 1]]]}


def test_the_front_end_is_served_whole_and_asks_nobody_else(page):
    front = page.get("/")
    parts = [*server._STATIC, *local._SHARED]

    assert front.headers["content-type"].startswith("text/html")
    assert {page.get(f"/static/{name}").status_code for name in parts} == {200}
    for text in (front.text, *(page.get(f"/static/{name}").text for name in parts)):
        addresses = [word for word in text.split('"') if "://" in word]
        assert addresses in ([], ["http://www.w3.org/2000/svg"])
        assert "innerHTML" not in text
        assert "<script>" not in text
        assert "style=" not in text


def test_a_browser_is_told_to_run_and_load_nothing_from_elsewhere(page):
    for path in ("/", "/api/about", "/static/main.js", "/none", "/api/place?n=99&annotator=a"):
        headers = page.get(path).headers
        assert headers["content-security-policy"] == SERVED
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["referrer-policy"] == "no-referrer"
        assert headers["x-frame-options"] == "DENY"
        assert headers["cache-control"] == "no-store"


@pytest.mark.parametrize(
    "path",
    [
        "/static/..%2f..%2fserver.py",
        "/static/../server.py",
        "/static/%2e%2e/desk.py",
        "/static//etc/passwd",
        "/static/index.html%00.js",
        "/picture/{edition}/..%2f..%2f1/0/rgb.png",
        "/picture/{edition}/0/..%2f0/rgb.png",
        "/picture/{edition}/0/0/..%2f..%2fproject.sqlite.png",
        "/picture/{edition}/-1/0/rgb.png",
        "/picture/{edition}/0/-1/rgb.png",
        "/picture/{edition}/0/99/rgb.png",
        "/picture/{edition}/99/0/rgb.png",
        "/picture/{edition}/1e0/0/rgb.png",
        "/picture/{edition}/" + "9" * 5000 + "/0/rgb.png",
        "/picture/{edition}/٣/0/rgb.png",
        "/picture/{edition}/0/0/sar.png",
        "/picture/{edition}/0/0/__class__.png",
        "/picture/another/0/0/rgb.png",
        "/place/another/0.geojson",
        "/place/{edition}/..%2f0.geojson",
    ],
)
def test_addresses_lead_to_what_is_shown_and_to_no_other_file(page, desk, path):
    assert page.get(path.replace("{edition}", desk.edition)).status_code == 404


def test_pictures_are_told_by_number_and_kept_by_the_browser(page, desk):
    found = page.get(f"/picture/{desk.edition}/0/1/nir.png")

    shown = np.asarray(Image.open(io.BytesIO(found.content)))
    assert shown.shape == (6, 9, 4)
    assert "immutable" in found.headers["cache-control"]


def test_nobody_is_told_what_the_model_or_others_think_before_he_answered(page, project):
    project.record("place-0", "Bo", "absent", via="page")
    project.record_outline("place-0", "Bo", "present", SQUARE, 0)

    before = page.get("/api/queue", params={"annotator": "Ada"}).text
    asked = page.get("/api/place", params={"annotator": "Ada", "n": 0}).json()

    for word in ("0.875", "likely", "mixture", '"Bo"'):
        assert word not in before
    assert (asked["told"], asked["outlines"]) == (None, [])

    told = answer(page, project, 0).json()["told"]
    after = page.get("/api/place", params={"annotator": "Ada", "n": 0}).json()

    assert (told["probability"], told["why"]) == (0.875, "likely")
    assert told["others"] == [{"annotator": "Bo", "said": "absent"}]
    assert after["told"] == told
    assert [one["annotator"] for one in after["outlines"]] == ["Bo"]


def test_an_answer_is_in_the_project_when_the_page_is_told_so(page, project):
    told = answer(page, project, 2, "unknown").json()

    [kept] = project.answers()
    assert told["number"] == kept.number
    assert (kept.item, kept.annotator, kept.said, kept.via) == (
        "place-2",
        "Ada",
        "unknown",
        "page",
    )


def test_an_answer_that_is_sent_again_counts_once(page, project):
    numbers = [answer(page, project, 2, sent="k1").json()["number"] for _ in range(3)]

    assert len(set(numbers)) == 1
    assert project._database.read("SELECT count(*) FROM answer") == [(1,)]


def test_answers_are_taken_back_one_by_one_and_each_once(page, project):
    first, second = (answer(page, project, n, sent=f"k{n}").json()["number"] for n in (0, 1))

    for _ in range(2):
        told = post(page, "undo", project, number=second).json()
    queue = page.get("/api/queue", params={"annotator": "Ada"}).json()

    assert told["place"]["id"] == HOSTILE
    assert [one.number for one in project.answers()] == [first]
    assert [one["number"] for one in queue["places"]] == [1, 2, 3, 4]
    assert post(page, "undo", project, number=first, annotator="Bo").json() == {"place": None}


def test_the_queue_tells_how_far_all_are_and_how_they_agree(page, project):
    for number in range(4):
        answer(page, project, number, "present", sent=f"a{number}")
        said = "present" if number else "absent"
        answer(page, project, number, said, sent=f"b{number}", annotator=" Bo ")
    answer(page, project, 4, "unknown", sent="b4", annotator="Bo")

    told = page.get("/api/queue", params={"annotator": "Ada"}).json()

    assert told["progress"] == {"places": 5, "answered": 4, "by_anyone": 5, "annotators": 2}
    assert [(one["with"], one["places"], one["share"]) for one in told["agreement"]] == [
        ("Bo", 4, 0.75)
    ]
    assert [one["id"] for one in told["before"]] == ["place-3", "place-2", HOSTILE, "place-0"]
    assert [one["id"] for one in told["places"]] == ["place-4"]


def test_agreement_is_of_one_with_each_other_and_counted_every_few_seconds(project, monkeypatch):
    clock = [0.0]
    monkeypatch.setattr(agreed.time, "monotonic", lambda: clock[0])
    for name, count in (("Ada", 4), ("Bo", 3), ("Cy", 4), ("Di", 0)):
        for number in range(count):
            said = "absent" if name == "Cy" and number < 2 else "present"
            project.record(f"place-{number}", name, said, via="page")
    kept = Agreed(project.classes)

    told = kept.of("Ada", project.first_answers)
    project.record("place-3", "Bo", "present", via="page")
    # He changes his mind once he is told what others say, which is no agreement.
    project.record("place-0", "Cy", "present", via="page")
    soon = kept.of("Ada", project.first_answers)
    clock[0] = 60
    later = kept.of("Ada", project.first_answers)

    assert [(one["with"], one["places"]) for one in told] == [("Cy", 4), ("Bo", 3)]
    assert [one["share"] for one in told] == [0.5, 1.0]
    assert [one["places"] for one in soon] == [4, 3]
    assert [(one["with"], one["places"]) for one in later] == [("Bo", 4), ("Cy", 4)]
    assert [one["share"] for one in later] == [1.0, 0.5]


def test_threads_that_learn_of_rounds_hide_none_from_others(desk):
    learning = threading.Event()
    wanted = desk._asked.copy()
    lost = []

    def look():
        while not learning.is_set():
            lost.extend([1] if desk._asked.keys() != wanted.keys() else [])

    looker = threading.Thread(target=look)
    looker.start()
    for _ in range(300):
        desk._take_rounds()
    learning.set()
    looker.join()

    assert not lost


def test_an_outline_is_kept_in_pixels_and_mended_and_erased_by_who_drew_it(page, project):
    drawn = {"place": 0, "image": 1, "class": "present", "geometry": SQUARE}
    number = post(page, "outline", project, sent="o1", **drawn).json()["number"]
    again = post(page, "outline", project, sent="o1", **drawn).json()["number"]
    wider = {**SQUARE, "coordinates": [[[1, 1], [9, 1], [9, 6], [1, 6], [1, 1]]]}
    mended = {**drawn, "geometry": wider, "instead": number}
    other = post(page, "outline", project, sent="o2", **mended).json()["number"]

    [kept] = project.outlines("place-0")
    assert again == number
    assert (kept.number, kept.image, kept.class_) == (other, 1, "present")
    assert np.array(kept.geometry["coordinates"]).max() == 9
    assert post(page, "erase", project, number=other, annotator="Bo").json() == {"erased": False}
    assert post(page, "erase", project, number=other).json() == {"erased": True}
    assert project.outlines("place-0") == []


DEEP = json.loads("[" * 900 + "]" * 900)


@pytest.mark.parametrize(
    ("changed", "why"),
    [
        ({"geometry": None}, "The outline is no GeoJSON polygon; draw it again."),
        ({"geometry": {"type": "Point"}}, "The outline is a Point"),
        (
            {"geometry": {"type": "Polygon", "coordinates": [[[0, 0], [4, 4], [4, 0], [0, 4]]]}},
            "The outline is no",
        ),
        (
            {"geometry": {"type": "Polygon", "coordinates": [[[0, 0], [10, 0], [0, 4], [0, 0]]]}},
            "The outline leaves its image of 9 x 6 px; draw it again.",
        ),
        ({"image": 2}, "The place has no image 2; draw on one that is shown."),
        ({"image": "0"}, "The place has no image '0'; draw on one that is shown."),
        ({"image": True}, "The place has no image True; draw on one that is shown."),
        ({"instead": 10**30}, f"There is no outline {10**30}; give the number of one."),
        ({"instead": -1}, "There is no outline -1; give the number of one."),
        ({"geometry": {"type": "Polygon", "coordinates": DEEP}}, "The outline is no GeoJSON"),
        ({"class": "unknown"}, "An outline is of a class, not of 'unknown'; name the class."),
        ({"class": "lake"}, "The project has no class 'lake'."),
    ],
)
def test_what_is_no_outline_on_an_image_is_refused_in_a_sentence(page, project, changed, why):
    drawn = {"place": 0, "image": 0, "class": "present", "geometry": SQUARE, "sent": "o", **changed}

    refused = post(page, "outline", project, **drawn)

    assert refused.status_code == 400
    assert refused.json()["error"].startswith(why)
    assert project.outlines("place-0") == []


def test_the_mask_of_the_pack_is_shown_as_an_outline_to_who_has_answered(page, project):
    answer(page, project, 0)
    told = page.get("/api/place", params={"annotator": "Ada", "n": 0}).json()
    before = page.get("/api/place", params={"annotator": "Bo", "n": 0}).json()

    assert before["masks"] == []
    [mask] = told["masks"]
    assert (mask["class"], mask["image"]) == ("present", 1)
    corners = np.array(mask["geometry"]["coordinates"][0])
    assert corners.min(axis=0).tolist() == [3, 2]
    assert corners.max(axis=0).tolist() == [7, 5]


@pytest.mark.parametrize(
    ("classes", "id_", "called"),
    [
        (("absent", "present"), 1, ["present"]),
        (("absent", "present"), 3, ["3", "1"]),
        (("none", "pond", "slump"), 2, ["2", "1"]),
        (("none", "pond", "slump"), 7, ["7", "1"]),
        (("none", "pond", "slump"), 1, ["1"]),
    ],
)
def test_a_mask_has_its_number_where_nobody_knows_its_class(tmp_path, classes, id_, called):
    first, second = PLACES[0].images
    label = second.label.clone()
    label[2, 3] = 1
    label[2:5, 4:7] = id_
    places = [place(first, replace(second, label=label))]
    finder = pack_places(tmp_path / "pack", places)
    with ask_for(tmp_path / "project", places, classes=classes) as project:
        project.record("a", "Ada", "unknown", via="page")
        told = Desk(project, finder, map_link).place(0, "Ada")["masks"]

    assert sorted({one["class"] for one in told}, reverse=True) == called


def test_a_place_opens_in_qgis_as_a_point_and_one_of_nowhere_does_not(tmp_path):
    places = [PLACES[0], place(*PLACES[0].images, id_="b", lon=np.nan, lat=np.nan)]
    finder = pack_places(tmp_path / "pack", places)
    with ask_for(tmp_path / "project", places) as project:
        desk = Desk(project, finder, map_link)
        page = TestClient(make_app(desk), base_url=HERE)

        found = page.get(f"/place/{desk.edition}/0.geojson")
        nowhere = page.get(f"/place/{desk.edition}/1.geojson")
        told = page.get("/api/place", params={"annotator": "Ada", "n": 1}).json()

    assert found.json()["geometry"] == {"type": "Point", "coordinates": [-135.25, 67.5]}
    assert found.headers["content-disposition"] == 'attachment; filename="place-0.geojson"'
    assert nowhere.status_code == 404
    assert (told["lon"], told["lat"], told["map"]) == (None, None, None)


def test_a_place_has_the_address_of_a_map(page):
    told = page.get("/api/place", params={"annotator": "Ada", "n": 0}).json()

    assert told["map"] == "map of -135.25 67.5"


@pytest.mark.parametrize(
    ("said", "status", "why"),
    [
        ({"said": "lake"}, 400, "The project has no class 'lake'."),
        ({"said": None}, 400, "What was sent has no said; load the page again."),
        ({"annotator": " "}, 400, "An answer has no annotator; say who gave it."),
        ({"annotator": 7}, 400, "What was sent has no annotator; load the page again."),
        ({"sent": ""}, 400, "What was sent has no sent; load the page again."),
        ({"place": 99}, 404, "There is no such thing here."),
        ({"place": "0; DROP TABLE answer"}, 404, "There is no such thing here."),
        ({"project": "another"}, 400, "This page is of another project; load it again."),
    ],
)
def test_an_answer_that_cannot_be_taken_is_refused_in_a_sentence(page, project, said, status, why):
    body = {"project": project.key, "annotator": "Ada", "place": 0, "said": "present", "sent": "k"}

    refused = page.post("/api/answer", json=body | said)

    assert refused.status_code == status
    assert refused.json()["error"].startswith(why)
    assert project.answers() == []


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"", "is no JSON;"),
        (b"[]", "is no JSON object;"),
        (b"{" * 5000, "is no JSON;"),
        (b"\xff", "is no JSON;"),
        (b'{"said": "' + b"x" * 2**20 + b'"}', "is longer than 1048576 bytes; send less."),
    ],
)
def test_what_is_no_json_object_or_too_long_is_refused(page, content, why):
    refused = page.post("/api/answer", content=content)

    assert refused.status_code == 400
    assert refused.json()["error"].startswith(f"What was sent {why}")


def test_a_disk_that_is_full_is_told_and_the_page_tries_again(page, project, monkeypatch):
    def full(*_, **__):
        raise OutputError("The project cannot be written: the disk is full.")

    monkeypatch.setattr(type(project), "record", full)

    refused = answer(page, project, 0)

    assert refused.status_code == 500
    assert refused.json() == {"error": "The project cannot be written: the disk is full."}


@pytest.mark.parametrize(
    "host",
    [
        *("evil.example", "127.0.0.1.evil.example:8765", "evil.example:8765"),
        *("", "a b", "localhost@b", "[", "[::1", "[x]"),
    ],
)
def test_a_name_that_was_rebound_to_this_machine_is_turned_away(page, host):
    assert page.get("/api/about", headers={"Host": host}).status_code == 421


@pytest.mark.parametrize("host", ["127.0.0.1:8765", "localhost:9000", "[::1]:8765", "LOCALHOST"])
def test_names_of_this_machine_are_let_in_on_any_port_that_was_forwarded(page, host):
    assert page.get("/api/about", headers={"Host": host}).status_code == 200


@pytest.mark.parametrize(
    "origin",
    [
        *(None, "null", "http://evil.example", "http://127.0.0.1:9999", "http://127.0.0.1"),
        *("http://[", "http://[x]"),
    ],
)
def test_another_page_in_the_same_browser_can_change_nothing(desk, project, origin):
    headers = {} if origin is None else {"Origin": origin}
    page = TestClient(make_app(desk), base_url=HERE, headers=headers)

    refused = answer(page, project, 0)

    assert refused.status_code == 403
    assert project.answers() == []


def guarded(desk):
    app = make_app(desk, host="0.0.0.0", token=TOKEN)
    there = "http://10.1.2.3:8765"
    return TestClient(app, base_url=there, headers={"Origin": there}, follow_redirects=False)


def test_with_a_token_nothing_is_told_or_taken_without_it(desk, project):
    page = guarded(desk)
    paths = ("/", "/static/main.js", "/api/about", f"/picture/{desk.edition}/0/0/rgb.png")

    for path in (*paths, "/?token=", "/?token=a-secre", "/?token=é", "/api/about?token=a-secret"):
        assert page.get(path).status_code == 401
    assert answer(page, project, 0).status_code == 401
    page.headers["Authorization"] = "Bearer nothing"
    assert page.get("/").status_code == 401
    assert project.answers() == []


def test_the_address_with_the_token_lets_a_browser_in_and_hides_it_from_there_on(desk, project):
    page = guarded(desk)

    welcome = page.get("/", params={"token": TOKEN})

    assert (welcome.status_code, welcome.headers["location"]) == (303, "/")
    cookie = welcome.headers["set-cookie"].lower()
    assert "httponly" in cookie
    assert "samesite=lax" in cookie
    assert page.get("/").status_code == 200
    assert answer(page, project, 0).status_code == 200


def test_a_script_brings_the_token_in_a_header(desk):
    page = guarded(desk)

    assert page.get("/api/about", headers={"Authorization": f"Bearer {TOKEN}"}).status_code == 200


@pytest.mark.parametrize(
    ("host", "alone"),
    [
        *((host, True) for host in ("127.0.0.1", "127.9.9.9", "::1", "localhost")),
        *((host, False) for host in ("0.0.0.0", "10.0.0.1", "::", "localhost.evil")),
    ],
)
def test_hosts_that_only_this_machine_reaches_need_no_token(host, alone):
    assert is_loopback(host) is alone


def test_a_round_that_is_added_shows_up_and_numbers_of_places_stay(finder, tmp_path):
    with ask_for(tmp_path / "project", PLACES[:5], rounds=2) as project:
        desk = Desk(project, finder, map_link)
        numbers = {one["id"]: one["number"] for one in desk.queue("Ada")["places"]}
        fresh = [Drawn("place-0", "audit", 0.1), Drawn("place-5", "audit", 0.1)]
        project.record_round(fresh, strategy="random", settings={})

        again = {one["id"]: one["number"] for one in desk.queue("Ada")["places"]}

    assert sorted(numbers.values()) == list(range(5))
    assert again == {**numbers, "place-5": 5}


def test_only_one_round_is_asked_for_where_one_is_named(finder, tmp_path):
    with ask_for(tmp_path / "project", PLACES, rounds=2) as project:
        desk = Desk(project, finder, map_link, number=2)
        told = desk.queue("Ada")

    assert [one["id"] for one in told["places"]] == [HOSTILE, "place-3", "place-5"]
    assert told["progress"]["places"] == 3


def test_a_pack_that_lacks_what_was_proposed_is_refused(project, finder):
    project.record_round([Drawn("gone", "audit", 0.1)], strategy="random", settings={})

    with pytest.raises(DataError) as refused:
        Desk(project, finder, map_link)

    assert str(refused.value) == (
        f"{finder.pack.folder} lacks 1 of 6 places that were proposed, 'gone' among them; give "
        "--pack the one that the pool was made of."
    )


def test_where_nothing_was_proposed_there_is_nothing_to_serve(project, finder):
    wanted = (
        r"^Nothing has been proposed in round 7 in .*project; run `geoseg active propose .*`\.$"
    )
    with pytest.raises(ConfigError, match=wanted):
        Desk(project, finder, map_link, number=7)


def test_where_a_shard_is_gone_it_is_told_and_what_was_seen_before_can_be_answered(
    project, tmp_path
):
    desk = Desk(project, pack_places(tmp_path / "pack", PLACES), map_link)
    page = TestClient(make_app(desk), base_url=HERE, headers={"Origin": HERE})
    (tmp_path / "pack" / "000000.tar").unlink()

    refused = page.get(f"/picture/{desk.edition}/3/0/rgb.png")

    assert refused.status_code == 500
    assert "000000.tar cannot be read" in refused.json()["error"]
    assert answer(page, project, 3, "unknown").status_code == 200


def test_threads_answer_side_by_side_and_none_is_lost(page, project):
    def many(name):
        for number in range(10):
            answer(page, project, number % 5, sent=f"{name}{number}", annotator=name)

    threads = [threading.Thread(target=many, args=(name,)) for name in ("Ada", "Bo", "Cy")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert project._database.read("SELECT count(*) FROM answer") == [(30,)]
    assert len(project.answers()) == 15


def test_a_port_that_is_taken_and_a_host_that_is_none_are_told(desk):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(ConfigError) as refused:
            serve(desk, port=port, on_ready=print)

    assert str(refused.value) == (
        f"Port {port} of 127.0.0.1 cannot be used (Address already in use); give another --port, "
        "or 0 for one that is free."
    )
    with pytest.raises(ConfigError, match=r"^--host nowhere\.invalid is no host of this machine"):
        serve(desk, host="nowhere.invalid", on_ready=print)
    with pytest.raises(ConfigError, match=r"^Port 0 of 192\.0\.2\.1 cannot be used"):
        serve(desk, host="192.0.2.1", port=0, on_ready=print)


@pytest.mark.slow
def test_a_real_server_answers_and_ends_cleanly_when_it_is_interrupted(project, finder):
    command = [GEOSEG, "active", "serve", project.folder, "--port", "0"]
    command += ["--pack", finder.pack.folder, "--host", "0.0.0.0"]
    server = subprocess.Popen(
        command, stderr=subprocess.PIPE, text=True, env={**os.environ, "COLUMNS": "500"}
    )
    try:
        line = next(line for line in server.stderr if line.startswith("Open "))
        address = line.split()[1]
        port, token = address.split(":")[2].split("/?token=")
        asked = urllib.request.Request(
            f"http://127.0.0.1:{port}/api/about", headers={"Authorization": f"Bearer {token}"}
        )
        with urllib.request.urlopen(asked) as told:
            classes = json.load(told)["classes"]
        begun = time.monotonic()
        server.send_signal(signal.SIGINT)
        _, rest = server.communicate(timeout=20)
    finally:
        server.kill()

    assert classes == ["absent", "present"]
    assert server.returncode == 0
    assert rest == "Stopped. Every answer is in the project.\n"
    assert time.monotonic() - begun < 10


def test_the_command_tells_in_a_sentence_what_it_cannot_serve(project, finder, tmp_path):
    pack = finder.pack.folder
    wrong = {
        "holds no project": (tmp_path, "--pack", pack),
        "is no finished pack": (project.folder, "--pack", tmp_path),
        "Nothing has been proposed in round 9": (project.folder, "--pack", pack, "--round", "9"),
    }

    for why, arguments in wrong.items():
        refused = geoseg_here("active", "serve", *arguments)
        assert refused.returncode in {1, 2}
        assert refused.stderr.count("Error: ") == 1
        assert why in " ".join(refused.stderr.split())


def test_a_pool_that_was_made_of_no_pack_needs_one_to_be_named(project):
    source = {"format": 1, "kind": "rows", "path": "/rows", "digest": "0"}
    (project.folder / "source.json").write_text(json.dumps(source))

    refused = geoseg_here("active", "serve", project.folder)

    assert refused.returncode == 2
    assert " ".join(refused.stderr.split()) == (
        f"Error: The pool of {project.folder} was made of the rows /rows, which holds no images; "
        "name a pack of its places with --pack."
    )


def test_without_a_server_installed_the_command_says_what_to_install(project, finder, monkeypatch):
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    for module in ("geoseg.active.page.server", "geoseg.page.local"):
        monkeypatch.delitem(sys.modules, module)

    refused = geoseg_here("active", "serve", project.folder, "--pack", finder.pack.folder)

    assert refused.returncode == 2
    remedy = "run pip install 'starlette>=1.0' 'uvicorn>=0.40'"
    assert refused.stderr == f"Error: The page needs uvicorn; {remedy}.\n"
