"""The page of an inventory."""

import base64
import dataclasses
import hashlib
import json
import re
import shutil
import subprocess
import xml.etree.ElementTree as ET
from pathlib import Path

import geopandas as gpd
import matplotlib.image
import numpy as np
import pandas as pd
import pytest
import shapely
from command_line import geoseg, geoseg_here
from hypothesis import given
from hypothesis import strategies as st
from inventory.small_inventory import (
    CALM,
    GONE,
    ICE,
    LAKE,
    NAME,
    POND,
    SLUMP,
    SURGE,
    TONGUE,
    no_inventory,
    small_inventory,
)
from page_elements import Elements

from geoseg.errors import ConfigError
from geoseg.inventory import write_inventory
from geoseg.page.policy import WRITTEN
from geoseg.report import write_report
from geoseg.report.history import history_of, trend_of
from geoseg.report.inventory_figures import draw_glaciers
from geoseg.report.inventory_map import map_data
from geoseg.report.quantities import measured, quantity, rated

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
HOSTILE = '</script><script>alert(\'1\')</script>"><img src=x onerror="alert(2)"> $x_{$ \\'
FORMS = ("png", "svg")

needs_chromium = pytest.mark.skipif(not CHROMIUM, reason="needs chromium, to run the page")


def page_of(folder, inventory, **extra):
    write_report(inventory, folder / "page.html", **extra)
    return (folder / "page.html").read_text(encoding="utf-8")


def words_of(page):
    return " ".join(Elements(page).words.split())


def data_of(page):
    found = re.search(r'<script type="application/json" id="data">(.*?)</script>', page, re.DOTALL)
    return json.loads(found[1])


def row_of(page, first_cell):
    """The words of the row of the first table that begins so."""
    rows = re.findall(r"<tr>(.*?)</tr>", page, re.DOTALL)
    words = [" ".join(Elements(row).words.split()) for row in rows]
    return next(row for row in words if row.startswith(first_cell))


def bands_of(*rows):
    return pd.DataFrame(rows, columns=["survey", "kind", "z_from_m", "z_to_m", "area_km2"])


def one_survey(inventory, survey):
    """What is left of an inventory when only one survey is known."""
    outlines = inventory.outlines[inventory.outlines["survey"] == survey]
    own = {
        name: table[table["survey"] == survey]
        for name, table in inventory.tables()
        if "survey" in table
    }
    tracks = inventory.tracks[inventory.tracks["track_id"].isin(outlines["track_id"])].copy()
    for column in ("change_km2", "change_unc_km2", "change_pct", "significant", "rate_km2_a"):
        tracks[column] = None
    none = {name: getattr(inventory, name).iloc[:0] for name in ("events", "changes")}
    return dataclasses.replace(inventory, **own, tracks=tracks, **none)


def many_glaciers(count, tracks_named=""):
    """Copies of the first track of a small inventory, side by side, each smaller than the last."""
    small = small_inventory()
    tables = {}
    for name in ("tracks", "outlines", "states"):
        table = getattr(small, name)
        own = table[table["track_id"] == ICE]
        rows = np.tile(np.arange(len(own)), count)
        copy = np.repeat(np.arange(count), len(own))
        tables[name] = own.iloc[rows].reset_index(drop=True)
        tables[name]["track_id"] = [f"G{i:05d}" for i in copy]
        areas = [c for c in tables[name] if c.startswith("area_")]
        tables[name][areas] = tables[name][areas].div(1 + copy, axis=0)
        if "glac_name" in tables[name]:
            tables[name]["glac_name"] = tracks_named or [f"Number {i}" for i in copy]
        if "geometry" in tables[name]:
            shapes = shapely.transform(
                tables[name].geometry.to_numpy(), lambda xy: np.column_stack(xy.T)
            )
            moved = [
                shapely.affinity.translate(shape, 3000 * (i % 80), -9000 * (i // 80))
                for shape, i in zip(shapes, copy, strict=True)
            ]
            tables[name] = tables[name].set_geometry(gpd.GeoSeries(moved, crs=own.crs))
    tables["outlines"]["outline_id"] = (
        tables["outlines"]["track_id"] + "@" + tables["outlines"]["survey"]
    )
    none = {name: getattr(small, name).iloc[:0] for name in ("events", "changes", "lakes")}
    return dataclasses.replace(small, **tables, **none)


def run_page(page, *, survey="", folder):
    """The page as Chromium has it after its script ran at a survey, and what it complained of."""
    done = subprocess.run(
        [
            CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--enable-logging=stderr",
            f"--user-data-dir={folder / 'profile'}", "--window-size=1200,900",
            "--virtual-time-budget=2000", "--dump-dom", f"{page.as_uri()}#survey={survey}",
        ],
        capture_output=True, text=True, timeout=60, check=True,
    )  # fmt: skip
    return done.stdout, [line for line in done.stderr.splitlines() if "CONSOLE" in line]


def drawn_in(dom, tracks):
    """The path and the class of each track on the map."""
    paths = [a for a in Elements(dom).all("path") if "data-t" in a]
    return {tracks[int(a["data-t"])]["id"]: (a.get("d", ""), a.get("class", "")) for a in paths}


# ---- What is known ----


def test_what_is_absent_counts_as_zero_and_what_is_unknown_is_in_no_total():
    inventory = small_inventory()
    areas = inventory.outlines.set_index("outline_id")["area_km2"]
    history = history_of(inventory)

    glaciers, lakes = history.total("glacier"), history.total("lake")

    # GONE was not seen in 1964; without the rule, the total of 2000 would hold it.
    assert (glaciers.tracks, glaciers.compared) == (5, 4)
    in_2000 = sum(areas[f"{track}@2000"] for track in (ICE, CALM, SURGE))
    in_2020 = sum(areas[f"{track}@2020"] for track in (ICE, CALM, SURGE, TONGUE))
    np.testing.assert_allclose(glaciers.area_km2[1:], [in_2000, in_2020])
    assert (lakes.tracks, lakes.compared) == (2, 2)
    both = areas[f"{LAKE}@2000"] + areas[f"{POND}@2000"]
    np.testing.assert_allclose(lakes.area_km2, [0, both, areas[f"{LAKE}@2020"]])
    assert lakes.unc_km2[0] == 0


def test_a_track_without_a_state_or_measured_in_part_is_unknown_there():
    inventory = small_inventory()
    states = inventory.states.copy()
    calm = states["track_id"] == CALM
    states.loc[calm & (states["survey"] == "2000"), "area_km2"] = None
    states = states[~((states["track_id"] == SURGE) & (states["survey"] == "2020"))]

    history = history_of(dataclasses.replace(inventory, states=states))

    row = {track: i for i, track in enumerate(history.tracks["track_id"])}
    assert history.status[row[SURGE]].tolist() == ["present", "present", "unknown"]
    assert np.isnan(history.area_km2[row[SURGE], 2])
    assert np.isnan(history.area_km2[row[CALM]]).tolist() == [False, True, False]
    assert history.total("glacier").compared == 2  # ICE, and TONGUE, which was absent


def test_surveys_are_in_the_order_of_time_whatever_that_of_the_table():
    inventory = small_inventory()
    turned = dataclasses.replace(inventory, surveys=inventory.surveys.iloc[[2, 0, 1]])

    history = history_of(turned)

    assert history.surveys == ("1964", "2000", "2020")
    assert history.span == "1964-11-20 to 2020-10-12"
    np.testing.assert_allclose(history.area_km2, history_of(inventory).area_km2)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("start", "end", "words"),
    [
        ("1966-01-01", "1967-01-01", "1966"),
        ("1971-07-01", "1973-10-01", "1971-07 to 1973-09"),
        ("2000-02-01", "2000-03-01", "2000-02"),
        ("2020-10-12", "2020-10-13", "2020-10-12"),
        ("2020-10-12", "2020-10-15", "2020-10-12 to 2020-10-14"),
        ("1999-12-31", "2000-01-01", "1999-12-31"),
    ],
)
def test_days_are_written_as_people_write_them(start, end, words):
    inventory = one_survey(small_inventory(), "2000")
    dates = inventory.surveys.assign(
        start_date=pd.Timestamp(start).date(), end_date=pd.Timestamp(end).date()
    )

    assert history_of(dataclasses.replace(inventory, surveys=dates)).days == (words,)


@given(
    rate=st.floats(-5, 5),
    first=st.floats(10, 1000),
    years=st.lists(st.integers(1940, 2030), min_size=2, max_size=8, unique=True),
)
def test_a_trend_finds_the_rate_that_is_there(rate, first, years):
    years = np.array(years, dtype=float)
    areas = first + rate * (years - 1900)

    trend = trend_of(years, areas, np.linspace(0.1, 0.3, len(years)))

    assert trend.rate_km2_a == pytest.approx(rate, abs=1e-6)
    line, half = trend.at(years)
    np.testing.assert_allclose(line, areas, atol=1e-6)
    assert (half > 0).all()


def test_a_trend_of_one_date_or_of_nothing_known_is_none():
    years, areas = np.array([2000.0, 2000.0]), np.array([1.0, 2.0])

    assert trend_of(years, areas, np.ones(2)) is None
    assert trend_of(np.array([2000.0, 2010.0]), np.full(2, np.nan), np.ones(2)) is None


def test_a_trend_is_as_wide_as_deviations_and_scatter_demand():
    years = np.array([2000.0, 2010.0, 2020.0])
    straight, bent = np.array([3.0, 2.0, 1.0]), np.array([3.0, 1.0, 1.0])

    told = trend_of(years, straight, np.full(3, 0.1))
    scattered = trend_of(years, bent, np.full(3, 1e-6))
    two = trend_of(years[:2], straight[:2], np.full(2, np.nan))

    # The slope of three dates ten years apart has the deviation of an area over the root of 200.
    assert told.rate_half_km2_a == pytest.approx(1.96 * 0.1 / np.sqrt(200), rel=1e-3)
    # Residuals 1/3, -2/3, 1/3, one degree of freedom: t = 12.706.
    assert scattered.rate_half_km2_a == pytest.approx(12.706 * np.sqrt(2 / 3 / 200), rel=1e-3)
    assert np.isnan(two.rate_half_km2_a)


def test_quantities_have_the_digits_that_their_uncertainty_allows():
    minus = "\N{MINUS SIGN}"

    assert measured(21.98412, 0.0456) == "21.984 ± 0.075"
    assert measured(1234.5, 88) == "1,234 ± 145"
    assert measured(-0.5, 0.2, sign=True) == f"{minus}0.50 ± 0.33"
    assert measured(0.0, 0.0) == "0"
    assert measured(1.5, np.nan) == "1.50"
    assert measured(np.nan, 0.1) == "\N{EN DASH}"
    assert quantity(-0.0, 2, sign=True) == "0"
    assert rated(-0.1533, -0.187, -0.1196) == (f"{minus}0.153", f"{minus}0.187 to {minus}0.120")
    assert rated(0.1533, np.nan, np.nan) == ("+0.15", "")
    assert rated(np.nan, np.nan, np.nan) == ("", "")


# ---- What the page says ----


@pytest.mark.slow
def test_the_page_tells_what_is_known(tmp_path):
    inventory = small_inventory()
    areas = inventory.outlines.set_index("outline_id")["area_km2"]

    page = page_of(tmp_path, inventory)

    words = words_of(page)
    first = sum(areas[f"{track}@1964"] for track in (ICE, CALM, SURGE))
    assert f"{first:.3f} ± 0.075 km²" in words
    assert "the 4 measured in every survey" in words
    assert "3 surveys, 1964-11-20 to 2020-10-12. Licence: CC-BY-4.0." in words
    assert "2 appeared, 0 vanished" in words  # lakes
    assert "1 smaller, 1 larger, of 3" in words
    assert row_of(page, "1964").startswith("1964 3 1 1")  # present, absent, unknown
    assert row_of(page, "1964 0 2 0") == "1964 0 2 0 0 0"  # no lake, seen to be none
    assert row_of(page, SLUMP).startswith(f"{SLUMP} thaw slump 0.142 ± 0.012")
    assert row_of(page, "merge lake").startswith(f"merge lake {LAKE} {POND} 2000 \N{EN DASH} 2020")
    assert "2000 2000-10-30 scene-2000 landsat-7 30.0" in words


@pytest.mark.slow
def test_the_page_makes_no_request_and_runs_no_script_but_its_own(tmp_path):
    page = page_of(tmp_path, small_inventory())
    elements = Elements(page)

    for tag, attributes in elements.found:
        assert tag not in {"link", "iframe", "object", "embed", "base"}
        assert not {name for name in attributes if name.startswith("on")}
        for name in ("src", "href", "action", "srcset", "data"):
            assert attributes.get(name, "data:").startswith("data:")
    assert not re.search(r"url\((?!#)", page)
    assert "@import" not in page
    policy = elements.all("meta")[2]["content"]
    assert policy.startswith(f"{WRITTEN};")
    script = re.findall(r"<script>(.*?)</script>", page, re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(script[0].encode()).digest()).decode()
    assert len(script) == 1
    assert f"script-src 'sha256-{digest}'" in policy


@pytest.mark.slow
def test_texts_of_an_inventory_are_text_and_nothing_else(tmp_path):
    inventory = small_inventory()
    tracks = inventory.tracks.assign(glac_name=HOSTILE, ref_id=HOSTILE)
    hostile = dataclasses.replace(
        inventory,
        title=HOSTILE,
        licence=HOSTILE,
        provenance={HOSTILE: HOSTILE},
        tracks=tracks,
        surveys=inventory.surveys.assign(source=HOSTILE, sensor=HOSTILE),
        outlines=inventory.outlines.assign(sensor=HOSTILE, scene=HOSTILE),
    )

    page = page_of(tmp_path, hostile)

    plain = Elements(page_of(tmp_path, inventory))
    elements = Elements(page)
    assert len(elements.all("script")) == len(plain.all("script")) == 2
    assert len(elements.all("img")) == len(plain.all("img"))
    assert "<img src=x" not in page
    assert HOSTILE in elements.words
    assert {track["name"] for track in data_of(page)["tracks"]} == {HOSTILE}


@pytest.mark.slow
def test_hostile_surveys_and_kinds_are_text_too(tmp_path):
    inventory = small_inventory()
    renamed = {
        name: table.replace({"2000": HOSTILE, "thaw_slump": HOSTILE})
        for name, table in inventory.tables()
        if name not in ("events", "lakes", "changes")
    }

    page = page_of(tmp_path, dataclasses.replace(inventory, **renamed))

    assert "<img src=x" not in page
    assert len(Elements(page).all("script")) == 2
    assert HOSTILE in [survey["name"] for survey in data_of(page)["surveys"]]


@pytest.mark.slow
def test_figures_lie_beside_the_page_as_png_and_svg(tmp_path):
    bands = bands_of(
        ("1964", "glacier", 5000, 5100, 1.5),
        ("2020", "glacier", 5000, 5100, 1.0),
        ("2020", "lake", 4000, 4100, 0.2),
        ("2020", "lake", 4900, 5000, 0.1),
    )
    path = tmp_path / "page.html"

    written = write_report(small_inventory(), path, hypsometry=bands)

    names = [f"{name}.{form}" for name in ("totals", "glaciers", "hypsometry") for form in FORMS]
    assert written == (path, *(tmp_path / "page_figures" / name for name in names))
    for file in written[1:]:
        if file.suffix == ".png":
            height, width, _ = matplotlib.image.imread(file).shape
            assert width > height > 100
        else:
            assert ET.parse(file).getroot().tag.endswith("svg")
    pictures = [a["src"] for a in Elements(path.read_text(encoding="utf-8")).all("img")]
    svg = (tmp_path / "page_figures" / "hypsometry.svg").read_bytes()
    assert base64.b64decode(pictures[2].split(",")[1]) == svg


@pytest.mark.slow
def test_figures_that_an_inventory_no_longer_has_are_removed(tmp_path):
    write_report(small_inventory(), tmp_path / "page.html")

    written = write_report(no_inventory(), tmp_path / "page.html")

    assert written == (tmp_path / "page.html",)
    assert list((tmp_path / "page_figures").iterdir()) == []


@pytest.mark.slow
@pytest.mark.parametrize("count", [1, 3, 12])
def test_panels_of_glaciers_fill_their_figure(count):
    figure = draw_glaciers(history_of(many_glaciers(count)))

    figure.draw_without_rendering()  # a figure that cannot be laid out warns, and a warning fails

    places = np.array([axes.get_position().bounds for axes in figure.axes])
    assert len(places) == count
    assert (places[:, 2] > 0.24).all()  # of the width, three side by side
    assert (places[:, 3] * len(set(places[:, 1].round(3))) > 0.5).all()


def test_glaciers_of_one_name_are_told_apart_by_their_ids():
    inventory = many_glaciers(2, tracks_named="Twin")

    twins = draw_glaciers(history_of(inventory))
    others = draw_glaciers(history_of(many_glaciers(2)))

    words = [text.get_text() for axes in twins.axes for text in axes.texts]
    assert [axes.get_title(loc="left") for axes in twins.axes] == ["Twin", "Twin"]
    assert words[0].startswith("G00000, ")
    assert words[1].startswith("G00001, ")
    assert not any("G0000" in text.get_text() for axes in others.axes for text in axes.texts)


def test_only_glaciers_of_two_outlines_have_a_curve():
    figure = draw_glaciers(history_of(small_inventory()))

    assert len(figure.axes) == 3  # neither TONGUE nor GONE
    assert draw_glaciers(history_of(one_survey(small_inventory(), "2000"))) is None


def test_a_page_of_one_survey_has_no_curve_and_no_slider(tmp_path):
    page = page_of(tmp_path, one_survey(small_inventory(), "2000"))

    assert not Elements(page).all("img")
    slider = next(a for a in Elements(page).all("input") if a["id"] == "time")
    assert "hidden" in slider
    assert "1 survey, 2000-10-30." in words_of(page)


def test_an_inventory_of_nothing_has_a_page_that_says_so(tmp_path):
    page = page_of(tmp_path, no_inventory())

    assert "This inventory holds no outline." in words_of(page)
    assert not Elements(page).all("script")


def test_the_map_leaves_out_the_smallest_whole_tracks_where_bytes_run_out():
    inventory = small_inventory()
    history = history_of(inventory)
    whole = map_data(inventory, history)

    part = map_data(inventory, history, most_bytes=6000)

    assert [t["id"] for t in whole["tracks"]][:3] == [ICE, CALM, SURGE]
    assert whole["tracks_left_out"] == whole["changes_left_out"] == 0
    kept = [t["id"] for t in part["tracks"]]
    assert 0 < len(kept) < 8
    assert kept == [t["id"] for t in whole["tracks"]][: len(kept)]
    assert part["tracks_left_out"] == 8 - len(kept)
    for track, full in zip(part["tracks"], whole["tracks"], strict=False):
        assert list(map(bool, track["d"])) == list(map(bool, full["d"]))


@pytest.mark.slow
def test_a_page_of_many_outlines_stays_near_five_megabytes_and_says_what_it_leaves_out(tmp_path):
    page = page_of(tmp_path, many_glaciers(5000))

    assert len(page.encode()) < 5_200_000
    left_out = 5000 - len(data_of(page)["tracks"])
    assert 0 < left_out < 4000
    assert f"the map leaves out the smallest {left_out:,} tracks" in words_of(page)
    assert "The largest 2,000 of 5,000 tracks; the GeoPackage holds all." in words_of(page)


def test_paths_of_the_map_are_where_outlines_are():
    inventory = small_inventory("EPSG:3413", (-200_000, -2_200_000))
    drawn = map_data(inventory, history_of(inventory))
    left, top = inventory.outlines.total_bounds[[0, 3]]
    margin = 0.03 * (inventory.outlines.total_bounds[2] - left)

    for track in drawn["tracks"]:
        for survey, path in zip(("1964", "2000", "2020"), track["d"], strict=True):
            if not path:
                continue
            rings = [np.array(re.findall(r"-?\d+", ring), int) for ring in path.split("z")[:-1]]
            corners = [ring.reshape(-1, 2).cumsum(axis=0) for ring in rings]
            areas = [shapely.Polygon(c).area * drawn["unit_m"] ** 2 for c in corners]
            x, y = np.concatenate(corners).min(axis=0) * drawn["unit_m"]
            own = inventory.outlines.set_index("outline_id").geometry[f"{track['id']}@{survey}"]
            holes = sum(len(part.interiors) for part in own.geoms)
            assert len(rings) == len(own.geoms) + holes
            signs = [-1 if i and holes and len(own.geoms) == 1 else 1 for i in range(len(rings))]
            if len(own.geoms) == 1:
                assert np.dot(signs, areas) == pytest.approx(own.area, rel=0.02)
            assert left - margin + x == pytest.approx(own.bounds[0], abs=40)
            assert top + margin - y == pytest.approx(own.bounds[3], abs=40)


# ---- The page in a browser ----


@needs_chromium
@pytest.mark.slow
def test_the_map_draws_what_was_there_at_each_survey(tmp_path):
    data = data_of(page_of(tmp_path, small_inventory()))
    inventory = small_inventory()
    states = inventory.states.copy()
    calm = (states["track_id"] == CALM) & (states["survey"] == "2020")
    states.loc[calm, ["status", "area_km2", "area_unc_km2"]] = ["unknown", None, None]
    page = tmp_path / "page.html"
    outlines = inventory.outlines[inventory.outlines["outline_id"] != f"{CALM}@2020"]
    write_report(dataclasses.replace(inventory, states=states, outlines=outlines), page)

    first, first_words = run_page(page, survey="1964", folder=tmp_path)
    last, last_words = run_page(page, survey="2020", folder=tmp_path)

    assert first_words == last_words == []
    assert 'class="ready"' in first
    assert 'class="ready"' in last
    then, now = drawn_in(first, data["tracks"]), drawn_in(last, data["tracks"])
    paths = {track["id"]: track["d"] for track in data["tracks"]}
    assert {track for track, (path, _) in then.items() if path} == {ICE, CALM, SURGE}
    assert {track for track, (path, _) in now.items() if path} == {
        ICE, TONGUE, CALM, SURGE, LAKE, SLUMP
    }  # fmt: skip
    assert then[ICE] == (paths[ICE][0], "")
    assert now[ICE] == (paths[ICE][2], "")
    assert now[CALM] == (paths[CALM][1], "unknown")  # as it was seen last


@needs_chromium
@pytest.mark.slow
def test_tables_sort_and_keys_move_the_map(tmp_path):
    page = page_of(tmp_path, small_inventory())
    # The policy of the page would refuse this script, as it should.
    probe = """<script>
const before = document.getElementById("map").getAttribute("viewBox");
document.getElementById("map").dispatchEvent(new KeyboardEvent("keydown", { key: "+" }));
const zoomed = document.getElementById("map").getAttribute("viewBox");
document.getElementById("map").dispatchEvent(new KeyboardEvent("keydown", { key: "0" }));
const again = document.getElementById("map").getAttribute("viewBox");
const time = document.getElementById("time");
time.value = "0";
time.dispatchEvent(new Event("input"));
const table = document.querySelector("table.sortable");
const ids = () => [...table.tBodies[0].rows].map(r => r.querySelector("button").dataset.track);
const change = table.querySelectorAll("th button")[3];
change.click();
const up = ids();
change.click();
const down = ids();
document.querySelector("tbody button.link").click();
document.body.append(Object.assign(document.createElement("pre"), { id: "probe", textContent:
  JSON.stringify({ before, zoomed, again, now: document.getElementById("now").textContent, up, down,
    sorted: change.parentElement.getAttribute("aria-sort"),
    panel: document.querySelector("#panel h3").textContent }) }));
</script></body>"""
    policy = re.search(r'<meta http-equiv="Content-Security-Policy"[^>]*>', page)[0]
    probed = tmp_path / "probed.html"
    probed.write_text(page.replace(policy, "").replace("</body>", probe), encoding="utf-8")
    refused = tmp_path / "refused.html"
    refused.write_text(page.replace("</body>", probe), encoding="utf-8")

    dom, complaints = run_page(probed, folder=tmp_path)
    refused_dom, refusals = run_page(refused, folder=tmp_path)

    assert complaints == []
    told = json.loads(re.search(r'<pre id="probe">(.*?)</pre>', dom, re.DOTALL)[1]
                      .replace("&amp;", "&").replace("&lt;", "<").replace("&gt;", ">"))  # fmt: skip
    assert told["before"] == told["again"] != told["zoomed"]
    assert told["now"] == "1964"
    tracks = small_inventory().tracks.set_index("track_id")["change_km2"].dropna().astype(float)
    known = len(tracks)
    assert told["up"][:known] == tracks.sort_values().index.tolist()
    assert told["down"][:known] == tracks.sort_values(ascending=False).index.tolist()
    assert set(told["up"][known:]) == {TONGUE, GONE, POND, SLUMP}  # unknown comes last both ways
    assert told["sorted"] == "descending"
    assert told["panel"] == told["down"][0]
    assert '<pre id="probe">' not in refused_dom
    assert any("Content Security Policy" in line for line in refusals)


@needs_chromium
@pytest.mark.slow
def test_hostile_names_and_empty_pages_run_without_complaint(tmp_path):
    inventory = small_inventory()
    tracks = inventory.tracks.assign(glac_name=HOSTILE)
    write_report(dataclasses.replace(inventory, tracks=tracks), tmp_path / "hostile.html")
    write_report(one_survey(inventory, "2000"), tmp_path / "one.html")

    for name in ("hostile", "one"):
        dom, complaints = run_page(tmp_path / f"{name}.html", folder=tmp_path)
        assert complaints == []
        assert 'class="ready"' in dom


# ---- On the command line ----


@pytest.mark.slow
def test_the_page_is_written_on_the_command_line(tmp_path):
    write_inventory(tmp_path / "a.gpkg", small_inventory(), styles={}, project=None, parquet=False)
    out = tmp_path / "r" / "page.html"

    done = geoseg("report", tmp_path / "a.gpkg", "--out", out, "--json")

    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    figures = [str(out.with_name("page_figures") / f"{name}.{form}")
               for name in ("totals", "glaciers") for form in FORMS]  # fmt: skip
    assert told == {"report": str(out), "figures": figures}
    assert all(Path(figure).stat().st_size for figure in figures)
    assert NAME in Elements(out.read_text(encoding="utf-8")).words


@pytest.mark.slow
def test_what_cannot_become_a_page_is_refused_in_one_sentence(tmp_path):
    write_inventory(tmp_path / "a.gpkg", small_inventory(), styles={}, project=None, parquet=False)
    small_inventory().outlines[["geometry"]].to_file(tmp_path / "other.gpkg")
    (tmp_path / "text.gpkg").write_text("no database")
    (tmp_path / "folder.html").mkdir()
    before = sorted(tmp_path.rglob("*"))

    for given_, out, code, sentence in (
        ("none.gpkg", "page.html", 1, "none.gpkg does not exist; give the .gpkg of an inventory."),
        ("other.gpkg", "page.html", 1, "other.gpkg is no inventory: it has no layer"),
        ("text.gpkg", "page.html", 1, "text.gpkg cannot be read as an inventory"),
        ("a.gpkg", "page.pdf", 2, "page.pdf is no name of a page; let it end in '.html'."),
        ("a.gpkg", "folder.html", 1, "folder.html is a folder"),
    ):
        done = geoseg_here("report", tmp_path / given_, "--out", tmp_path / out)

        assert done.returncode == code, done.stderr
        assert sentence in " ".join(done.stderr.split())
        assert "Traceback" not in done.stderr
        assert done.stdout == ""
        assert sorted(tmp_path.rglob("*")) == before


def test_a_path_that_is_no_page_is_refused_before_work_is_done(tmp_path):
    with pytest.raises(ConfigError, match=r"let it end in '\.html'"):
        write_report(small_inventory(), tmp_path / "page.htm")
