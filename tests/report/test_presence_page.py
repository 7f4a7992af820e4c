"""The page of what a model found in many places."""

import base64
import dataclasses
import io
import re
import shutil
import subprocess

import matplotlib.image
import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from page_elements import Elements
from PIL import Image
from report.shown_places import image_of, place_of, rows_of
from scipy.stats import beta
from sklearn.metrics import average_precision_score

from geoseg.errors import ConfigError
from geoseg.page.policy import WRITTEN
from geoseg.report.presence_page import (
    DecisionRule,
    PresenceReport,
    TotalNumber,
    chance,
    write_presence_report,
)
from geoseg.report.presence_sheets import (
    Sheet,
    contour_path,
    data_uri,
    show_place,
    thumbnail_of,
)
from geoseg.report.presence_tally import count_first_years, tally_results
from geoseg.report.presence_truth import judge, recall_interval

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
HOSTILE = '</style><script>alert(\'1\')</script>"><img src=x onerror="alert(2)"> $x_{$ \\'
THRESHOLD = 0.3
TIMES = "\N{MULTIPLICATION SIGN}"

needs_chromium = pytest.mark.skipif(not CHROMIUM, reason="needs chromium, to open the page")


def tally_of(rows, **options):
    return tally_results([rows], **({"threshold": THRESHOLD} | options))


def parts_of(rows, count):
    return [rows.iloc[index] for index in np.array_split(np.arange(len(rows)), count)]


def report_of(rows, *, prevalence=None, sheets=(), **changes):
    tally = tally_of(rows)
    truth = judge(
        tally.known_present,
        tally.known_absent,
        prevalence=prevalence,
        rng=np.random.default_rng(0),
    )
    report = PresenceReport(
        title="Slumps of a simulated coast",
        target="thaw_slump",
        facts={"Model": "0123"},
        places=tally.places,
        images=tally.images,
        unscored=tally.unscored,
        found=tally.found,
        counts=tally.counts,
        rule=DecisionRule(threshold=THRESHOLD, n=120, recall=0.9, confidence=0.95),
        truth=truth,
        sheets=sheets,
    )
    return dataclasses.replace(report, **changes)


def page_of(folder, report):
    write_presence_report(folder / "page.html", report)
    return (folder / "page.html").read_text(encoding="utf-8")


def words_of(page):
    return " ".join(Elements(page).words.split())


def sheet_of(*places, title="Surest"):
    return Sheet(title=title, words="Those of the highest probability.", places=places)


def picture_in(uri):
    """The colours and the opacity (H, W, 4) of an image of a page."""
    kind, _, content = uri.partition(",")
    assert kind.endswith(";base64")
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(content))).convert("RGBA"))


# ---- What is gathered ----


def test_rows_in_any_parts_and_order_give_the_same_tally():
    rows = rows_of(3000)
    shuffled = rows.sample(frac=1, random_state=1)

    whole = tally_of(rows)
    parts = tally_results(parts_of(shuffled, 7), threshold=THRESHOLD)

    for one, other in zip(whole.counts, parts.counts, strict=True):
        np.testing.assert_array_equal(one, other)
    assert (whole.places, whole.images, whole.found) == (3000, 9000, int(rows.decision.sum()))
    assert whole.expected == pytest.approx(rows.probability.sum(), rel=1e-5)
    for name, picked in whole.picked.items():
        assert picked.chip_id.tolist() == parts.picked[name].chip_id.tolist()


def test_bins_of_the_histogram_hold_what_is_in_them():
    rows = rows_of(2000)
    rows.loc[:2, "probability"] = [0.0, 1.0, 0.5]
    inner = rows.probability.astype(float).clip(1e-8, 1 - 1e-8)
    odds = np.log(inner / (1 - inner))
    odds[:2] = -19.9, 19.9  # the outermost bins

    counts = tally_of(rows).counts

    for found, of_it in (
        (counts.every, rows.present | True),
        (counts.present, rows.present),
        (counts.absent, ~rows.present),
    ):
        np.testing.assert_array_equal(found, np.histogram(odds[of_it], counts.edges)[0])


def test_sheets_hold_the_surest_the_most_doubtful_and_the_worst_mistakes():
    rows = rows_of(2000)
    odds = np.log(rows.probability / (1 - rows.probability))
    doubt = (odds - np.log(THRESHOLD / (1 - THRESHOLD))).abs()
    missed, wrong = rows.present & ~rows.decision, ~rows.present & rows.decision

    picked = tally_of(rows, per_sheet=5, apart_m=0).picked

    wanted = {
        "surest": rows[rows.decision].nlargest(5, "probability"),
        "doubtful": rows.loc[doubt.nsmallest(5).index],
        "missed": rows[missed].nsmallest(5, "probability"),
        "false alarms": rows[wrong].nlargest(5, "probability"),
    }
    assert {k: v.chip_id.tolist() for k, v in picked.items()} == {
        k: v.chip_id.tolist() for k, v in wanted.items()
    }


def test_a_sheet_shows_one_slump_once_though_many_chips_show_it():
    rows = rows_of(300).assign(lon=130.0, lat=70.0)

    picked = tally_of(rows, apart_m=500).picked

    assert len(picked["surest"]) == 1


def test_labels_count_for_more_than_what_the_results_know():
    rows = rows_of(100)
    labels = pd.Series({rows.chip_id[0]: True, rows.chip_id[1]: False, "elsewhere": True})

    tally = tally_of(rows.drop(columns="present"), labels=labels)
    both = tally_of(rows.assign(present=None), labels=labels)
    over = tally_of(rows.assign(present=False), labels=labels)

    for told in (tally, both):
        assert (told.known_present.places, told.known_absent.places) == (1, 1)
    assert (over.known_present.places, over.known_absent.places) == (1, 99)


def test_places_without_a_probability_are_in_no_count_but_that_of_places():
    rows = rows_of(100)
    rows.loc[:9, "probability"] = np.nan
    rows["decision"] = rows["decision"].astype(object).where(rows.probability.notna(), None)

    tally = tally_of(rows)

    assert (tally.places, tally.unscored, tally.counts.every.sum()) == (100, 10, 90)
    assert tally.known_present.places + tally.known_absent.places == 90


def test_of_very_many_known_places_a_random_sample_is_kept(monkeypatch):
    monkeypatch.setattr("geoseg.report.presence_tally._MOST_KNOWN", 500)
    rows = rows_of(20_000, prevalence=0.3)

    tally = tally_results(parts_of(rows, 40), threshold=THRESHOLD)
    again = tally_results(parts_of(rows[::-1], 3), threshold=THRESHOLD)

    absent = rows[~rows.present]
    kept = tally.known_absent
    assert (kept.places, kept.found) == (len(absent), int(absent.decision.sum()))
    assert len(kept.probability) == 500
    spread = absent.probability.std() / np.sqrt(500)
    assert abs(kept.probability.mean() - absent.probability.mean()) < 4 * spread
    assert sorted(kept.probability) == sorted(again.known_absent.probability)


def test_first_years_are_counted_and_those_before_the_first_image_apart():
    table = pd.DataFrame(
        {
            "first_until": [2003.5, 2003.5, 1999.5, 2010.0, np.nan],
            "first_year": [2001.9, 2003.1, np.nan, 2006.0, np.nan],
            "low": [2000.0, 2002.0, np.nan, 2004.0, np.nan],
            "high": [2003.0, 2003.0, 1999.0, 2009.0, np.nan],
        }
    )

    first = count_first_years([table.iloc[:2], table.iloc[2:]])

    assert first.years.tolist() == [2001, 2002, 2003, 2004, 2005, 2006]
    assert first.counts.tolist() == [1, 0, 1, 0, 0, 1]
    assert first.before == 1
    assert first.median_width == pytest.approx(3, abs=0.11)
    assert count_first_years([]).years.size == 0


# ---- How good it is ----


def test_scores_are_those_of_the_metrics_and_of_textbooks():
    rows = rows_of(4000)
    tally = tally_of(rows)

    truth = judge(
        tally.known_present, tally.known_absent, prevalence=None, rng=np.random.default_rng(0)
    )

    n, k = int(rows.present.sum()), int((rows.present & rows.decision).sum())
    wanted = average_precision_score(rows.present, rows.probability)
    assert truth.curve.average_precision.value == pytest.approx(wanted)
    assert truth.precision == pytest.approx(rows.present[rows.decision].mean())
    assert truth.recall.value == pytest.approx(k / n)
    # Clopper and Pearson by quantiles of the beta distribution.
    assert truth.recall.low == pytest.approx(beta.ppf(0.025, k, n - k + 1))
    assert truth.recall.high == pytest.approx(beta.ppf(0.975, k + 1, n - k))
    assert truth.calibration.ece < 0.02


def test_probabilities_at_another_prevalence_come_true_after_they_are_moved():
    rows = rows_of(6000, prevalence=0.3)
    odds = rows.probability / (1 - rows.probability)
    share = rows.present.mean()
    deployed = odds * (1e-3 / (1 - 1e-3)) / (share / (1 - share))
    moved = rows.assign(probability=deployed / (1 + deployed))
    tally = tally_of(moved, threshold=0.001)

    truth = judge(
        tally.known_present, tally.known_absent, prevalence=1e-3, rng=np.random.default_rng(0)
    )

    assert truth.calibration.ece < 0.03
    assert truth.detection.prevalence == 1e-3


@pytest.mark.parametrize("kind", [True, False])
def test_places_of_one_kind_have_no_truth(kind):
    rows = rows_of(200).assign(present=kind)
    tally = tally_of(rows)

    assert (
        judge(tally.known_present, tally.known_absent, prevalence=None, rng=np.random.default_rng())
        is None
    )
    if kind:
        assert recall_interval(tally.known_present).value == rows.decision.mean()


# ---- What the page says ----


@pytest.mark.slow
def test_numbers_of_the_page_are_those_computed(tmp_path):
    rows = rows_of(3000)
    report = report_of(
        rows,
        prevalence=0.01,
        total=TotalNumber(value=1234, low=1100, high=1400, words="90 % interval, by audit"),
    )

    words = words_of(page_of(tmp_path, report))

    truth = report.truth
    ap, recall = truth.curve.average_precision, truth.recall
    wrong = truth.detection.false_positives_1e5
    assert f"Said to hold a thaw slump {int(rows.decision.sum())}" in words
    assert "Estimated number in all places 1,234 1,100 to 1,400, 90 % interval, by audit" in words
    assert (
        f"Average precision {ap.value:.3f} {ap.low:.3f} to {ap.high:.3f}, at a prevalence of 0.010"
    ) in words
    assert (
        f"Recall at the threshold {recall.value:.3f} {recall.low:.3f} to {recall.high:.3f}" in words
    )
    assert f"Precision at a recall of 90 % {truth.detection.precision.value:.3f}" in words
    assert f"False positives at a recall of 90 % {wrong.value:,.0f} {TIMES} 10⁻⁵" in words
    assert f"Calibration error {truth.calibration.ece:.3f}" in words
    assert "when its probability is 0.300 or more" in words
    assert (
        "set on 120 held-out places with a thaw slump, so that at least 90 % of such places are "
        "found, with a confidence of 95 %"
    ) in words
    assert f"Judged on {int(rows.present.sum())} places known to hold a thaw slump" in words


def test_a_threshold_that_promises_nothing_says_so(tmp_path):
    plain = report_of(rows_of(100, known=False), rule=DecisionRule(threshold=0.5))
    none = report_of(
        rows_of(100, known=False),
        rule=DecisionRule(threshold=0.0, n=5, recall=0.9, confidence=0.95),
    )

    assert "so it promises no recall" in words_of(page_of(tmp_path, plain))
    assert "every place is said to hold it. Hold out more." in words_of(page_of(tmp_path, none))


def test_the_page_makes_no_request_and_runs_no_script(tmp_path):
    sheet = sheet_of(show_place(place_of("a"), 0.9, evidence=[np.eye(4)] * 3))

    page = page_of(tmp_path, report_of(rows_of(500, known=False), sheets=(sheet,)))

    elements = Elements(page)
    for tag, attributes in elements.found:
        assert tag not in {"script", "link", "iframe", "object", "embed", "base", "form"}
        assert not {name for name in attributes if name.startswith("on")}
        for name in ("src", "action", "srcset", "data"):
            assert attributes.get(name, "data:").startswith("data:")
        assert attributes.get("href", "geo:").startswith("geo:")
    assert "url(" not in page
    assert "@import" not in page
    policy = elements.all("meta")[2]["content"]
    assert policy == WRITTEN


def test_texts_from_outside_are_text_and_nothing_else(tmp_path):
    place = show_place(place_of(HOSTILE), 0.9)
    image = dataclasses.replace(place.images[0], sensor_id=HOSTILE, when=HOSTILE)
    hostile = dataclasses.replace(place, images=(image,))
    report = report_of(
        rows_of(500, known=False),
        title=HOSTILE,
        target=HOSTILE,
        facts={HOSTILE: HOSTILE},
        problems=(HOSTILE,),
        sheets=(sheet_of(hostile, title=HOSTILE),),
    )

    page = page_of(tmp_path, report)

    elements = Elements(page)
    assert not elements.all("script")
    assert "<img src=x" not in page
    assert {a["src"][:5] for a in elements.all("img")} == {"data:"}
    assert elements.words.count(HOSTILE) >= 6


def test_a_place_shows_its_images_oldest_first_with_what_is_known_of_them(tmp_path):
    place = place_of("sim-17", lon=-130.25, lat=69.5, present=True)  # given newest first
    shown = show_place(place, 0.87654)

    page = page_of(tmp_path, report_of(rows_of(50, known=False), sheets=(sheet_of(shown),)))

    words = words_of(page)
    assert "0.877 known to be present 69.5000° N, 130.2500° W sim-17" in words
    first, second, third = (
        words.index(day) for day in ("1976-07-12 hexagon-kh9", "2019-07-12", "2021-07-12")
    )
    assert first < second < third
    assert 'href="geo:69.500000,-130.250000"' in page
    assert page.count("data:image/webp;base64,") == 3


def test_a_place_without_a_position_has_no_link_to_one(tmp_path):
    shown = show_place(place_of("a", lon=float("nan")), 0.5)

    assert "geo:" not in page_of(
        tmp_path, report_of(rows_of(50, known=False), sheets=(sheet_of(shown),))
    )


def test_of_many_images_the_oldest_the_newest_and_some_between_are_shown():
    years = list(range(1985, 2015))
    images = tuple(image_of("sentinel-2", year) for year in years)
    place = dataclasses.replace(place_of("a"), images=images[::-1])

    shown = show_place(place, 0.5)

    told = [int(image.when[:4]) for image in shown.images]
    assert (told[0], told[-1], len(told)) == (1985, 2014, 8)
    assert told == sorted(told)
    assert shown.left_out == 22


def test_evidence_that_is_not_of_each_image_is_refused():
    with pytest.raises(ValueError, match="has 3 images, but 1 maps of evidence"):
        show_place(place_of("a"), 0.5, evidence=[np.eye(3)])


# ---- Pictures ----


def test_red_green_and_blue_are_shown_as_such():
    chip = image_of("sentinel-2", 2019, slump=False)
    red = chip.image.clone()
    names = [band.common_name for band in chip.bands]
    red[names.index("red"), 4:12, 8:16] += 0.3

    picture = picture_in(data_uri(thumbnail_of(dataclasses.replace(chip, image=red))))

    patch = picture[5:11, 9:15, :3].reshape(-1, 3).mean(axis=0)
    assert patch[0] > 200
    assert patch[0] > patch[1:].max() + 40


def test_pixels_without_data_are_clear_and_do_not_change_the_others():
    chip = image_of("sentinel-2", 2020)
    spoilt = dataclasses.replace(chip, image=chip.image.where(chip.valid, 1e9))
    hidden = dataclasses.replace(chip, valid=~chip.valid & chip.valid)

    one, other = (picture_in(data_uri(thumbnail_of(c))) for c in (chip, spoilt))
    nothing = picture_in(data_uri(thumbnail_of(hidden)))

    assert (one[..., 3] == 255).all() == bool(chip.valid.all())
    holes = dataclasses.replace(chip, valid=chip.valid.clone())
    holes.valid[:, :10] = False
    assert (picture_in(data_uri(thumbnail_of(holes)))[:, :10, 3] == 0).all()
    np.testing.assert_array_equal(one[..., 3], other[..., 3])
    assert (nothing[..., 3] == 0).all()


def test_radar_is_shown_in_decibels_whether_it_is_stored_so_or_as_power():
    chip = image_of("sentinel-1", 2021)
    power = chip.image.abs() + 0.01
    decibels = 10 * power.log10()

    one, other = (
        thumbnail_of(dataclasses.replace(chip, image=image)).picture for image in (power, decibels)
    )

    np.testing.assert_allclose(one.astype(int), other.astype(int), atol=1)
    assert (one[..., 0] == one[..., 2]).all()


def test_a_large_image_becomes_small_without_moving():
    chip = image_of("hexagon-kh9-mapping", 1976, size=600)
    image = chip.image * 0 + 0.1
    image[0, 100:200, 300:352] = 0.9
    valid = chip.valid.clone()
    valid[::4] = False
    chip = dataclasses.replace(chip, valid=valid)
    image[0, ::4] = -1e6
    picture = thumbnail_of(dataclasses.replace(chip, image=image)).picture

    assert picture.shape == (150, 150, 3)
    rows, columns = np.nonzero(picture[..., 0] > 128)
    assert (rows.min(), rows.max(), columns.min(), columns.max()) == (25, 49, 75, 87)


def test_flat_ground_is_not_stretched_into_noise():
    chip = image_of("hexagon-kh9-mapping", 1976, slump=False)
    image = 0.2 + 1e-4 * torch.randn(chip.image.shape)

    picture = thumbnail_of(dataclasses.replace(chip, image=image)).picture

    assert np.ptp(picture.astype(int)) < 40


@settings(deadline=None)
@given(
    height=st.integers(1, 9),
    width=st.integers(1, 9),
    level=st.floats(-2, 2),
    seed=st.integers(0, 99),
)
def test_a_contour_lies_between_cells_above_and_cells_below(height, width, level, seed):
    evidence = np.random.default_rng(seed).normal(size=(height, width))

    path = contour_path(evidence, level)

    corners = np.array(re.findall(r"(-?[\d.]+) (-?[\d.]+)", path), dtype=float).reshape(-1, 2)
    assert bool(path) == bool((evidence > level).any())
    assert ((corners > -0.1) & (corners < 100.1)).all()
    if path:
        near = np.abs(corners[:, None] - _centres(evidence, level)[None]).max(axis=2).min(axis=1)
        assert (near <= 100 / min(height, width) + 0.1).all()


def _centres(evidence, level):
    rows, columns = np.nonzero(evidence > level)
    height, width = evidence.shape
    return np.stack([(columns + 0.5) * 100 / width, (rows + 0.5) * 100 / height], axis=1)


def test_a_contour_is_where_the_evidence_is():
    evidence = np.full((4, 8), -1.0)
    evidence[3, 1] = 1.0

    path = contour_path(evidence, 0.0)

    corners = np.array(re.findall(r"(-?[\d.]+) (-?[\d.]+)", path), dtype=float)
    # Half way to the centres of the cells about it, and along the lower border.
    assert corners.min(axis=0).tolist() == [12.5, 75.0]
    assert corners.max(axis=0).tolist() == [25.0, 100.0]


def test_lines_of_evidence_are_on_the_page_where_it_is_given(tmp_path):
    evidence = [np.where(np.eye(4), 2.0, -2.0), np.full((4, 4), -3.0), np.full((4, 4), -3.0)]
    with_it = show_place(place_of("a"), 0.9, evidence=evidence)
    without = show_place(place_of("a"), 0.9)

    page = page_of(tmp_path, report_of(rows_of(50, known=False), sheets=(sheet_of(with_it),)))
    plain = page_of(tmp_path, report_of(rows_of(50, known=False), sheets=(sheet_of(without),)))

    assert page.count('<svg class="line"') == 1
    assert 'id="lines"' in page
    assert "<svg" not in plain
    assert 'id="lines"' not in plain


# ---- Figures and edges ----


@pytest.mark.slow
def test_figures_lie_beside_the_page_as_png_and_svg_and_go_with_what_they_show(tmp_path):
    first = count_first_years(
        [pd.DataFrame({"first_until": [2003.0], "first_year": [2001.0], "low": 2000, "high": 2003})]
    )
    path = tmp_path / "page.html"

    written = write_presence_report(path, report_of(rows_of(800), first=first))
    names = [p.name for p in written[1:]]
    bare = write_presence_report(path, report_of(rows_of(800, known=False)))

    assert names == [
        f"{name}.{form}"
        for name in ("probabilities", "precision_recall", "reliability", "first_years")
        for form in ("png", "svg")
    ]
    assert [p.name for p in bare[1:]] == ["probabilities.png", "probabilities.svg"]
    assert sorted(p.name for p in (tmp_path / "page_figures").iterdir()) == [
        "probabilities.png",
        "probabilities.svg",
    ]
    picture = matplotlib.image.imread(tmp_path / "page_figures" / "probabilities.png")
    assert picture[..., :3].std() > 0.05


def test_the_same_report_gives_the_same_bytes(tmp_path):
    report = report_of(
        rows_of(300, known=False), sheets=(sheet_of(show_place(place_of("a"), 0.9)),)
    )

    assert page_of(tmp_path, report) == page_of(tmp_path, report)


def test_results_of_nothing_have_a_page_that_says_so(tmp_path):
    page = page_of(tmp_path, report_of(rows_of(5).head(0)))

    words = words_of(page)
    assert "There is no result here: no place was looked at." in words
    assert "No place has a probability." in words
    assert "Of none of these places it is known what they hold." in words
    assert not Elements(page).all("img")


@pytest.mark.slow
@pytest.mark.parametrize("probability", [0.0, 1.0, 0.3])
def test_probabilities_that_are_all_alike_have_a_page(tmp_path, probability):
    rows = rows_of(40).assign(probability=probability, decision=probability >= THRESHOLD)
    rows["present"] = np.arange(40) < 3

    words = words_of(page_of(tmp_path, report_of(rows, prevalence=0.5)))

    assert "Judged on 3 places" in words


def test_chances_keep_three_digits_and_never_round_to_certainty():
    assert chance(0.98765) == "0.988"
    assert chance(0.99999) == "> 0.999"
    assert chance(0.0) == "0.000"
    assert chance(0.00004321) == f"4.3 {TIMES} 10⁻⁵"
    assert chance(float("nan")) == "\N{EN DASH}"


def test_a_path_that_is_no_page_is_refused(tmp_path):
    with pytest.raises(ConfigError, match=r"let it end in '\.html'"):
        write_presence_report(tmp_path / "page.pdf", report_of(rows_of(20)))


# ---- The page in a browser ----


@needs_chromium
@pytest.mark.slow
def test_a_browser_opens_the_page_without_complaint(tmp_path):
    sheet = sheet_of(*(show_place(place_of(f"{HOSTILE}{i}"), 0.9) for i in range(3)))
    page = tmp_path / "page.html"
    write_presence_report(page, report_of(rows_of(800), sheets=(sheet,)))

    done = subprocess.run(
        [
            CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--enable-logging=stderr",
            f"--user-data-dir={tmp_path / 'profile'}", "--window-size=1200,900",
            "--virtual-time-budget=2000", "--dump-dom", page.as_uri(),
        ],
        capture_output=True, text=True, timeout=60, check=True,
    )  # fmt: skip

    assert [line for line in done.stderr.splitlines() if "CONSOLE" in line] == []
    assert len(Elements(done.stdout).all("img")) == 3 + 9
