import os
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import geopandas as gpd
import numpy as np
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st
from shapely.affinity import rotate, scale, translate

from geoseg.data.simulate import make_landscape, surface
from geoseg.data.simulate.write import _outlines
from geoseg.errors import ConfigError, GridError
from geoseg.inventory import Survey, kind_of
from geoseg.inventory.surveys.registration import (
    check_registration,
    corrected,
    outline_shift,
    registered,
)
from geoseg.scenes.coregister import Shift

CRS = "EPSG:32645"
HKH = Path(os.environ.get("GEOSEG_DATA_MIRROR", "/nowhere")) / "hkh_lakes" / "HKHLAKEDB"


def survey(shapes, *, year=2000, class_name="other_lake", gsd_m=30.0, crs=CRS, **extra):
    outlines = gpd.GeoDataFrame(
        {"kind": kind_of(class_name), "class_name": class_name}, index=range(len(shapes)),
        geometry=list(shapes), crs=crs,
    )  # fmt: skip
    fields = {"seen": None, "source": "test", "name": str(year)} | extra
    return Survey(
        start=datetime(year, 8, 1, tzinfo=UTC), end=datetime(year, 8, 2, tzinfo=UTC),
        outlines=outlines, gsd_m=gsd_m, **fields,
    )  # fmt: skip


def lake(x, y, rng, *, radius_m=None):
    """A bent shore around (x, y)."""
    radius_m = rng.uniform(90, 450) if radius_m is None else radius_m
    angle = np.linspace(0, 2 * np.pi, 48, endpoint=False)
    bends = sum(
        rng.uniform(0, 0.25 / n) * np.cos(n * angle + rng.uniform(0, 7)) for n in range(2, 6)
    )
    shore = radius_m * (1 + bends)
    ring = np.column_stack([x + shore * np.cos(angle), y + 0.7 * shore * np.sin(angle)])
    return shapely.Polygon(ring)


def lakes(count=40, seed=0):
    """Lakes in a strip of 3 by 60 km."""
    rng = np.random.default_rng(seed)
    return [
        lake(500_000 + 1500 * n + rng.uniform(0, 500), 3_100_000 + rng.uniform(0, 3000), rng)
        for n in range(count)
    ]


def redrawn(shapes, *, error_m=8.0, seed=1):
    """The shapes as another hand draws them on pixels of 30 m: each bend a little elsewhere."""
    rng = np.random.default_rng(seed)
    rings = [np.array(s.exterior.coords)[:-1] for s in shapes]
    return [shapely.Polygon(r + rng.normal(0, error_m, r.shape)).buffer(0) for r in rings]


def moved(shapes, x_m, y_m):
    return [translate(s, x_m, y_m) for s in shapes]


@settings(max_examples=25, deadline=None)
@given(x_m=st.floats(-300, 300), y_m=st.floats(-300, 300), seed=st.integers(0, 99))
def test_the_shift_of_lakes_that_were_drawn_again_is_found(x_m, y_m, seed):
    shapes = lakes(seed=seed)

    found = outline_shift(
        survey(shapes), survey(moved(redrawn(shapes, seed=seed + 1), x_m, y_m), year=1980)
    )

    assert found is not None
    # A tenth of a pixel of 30 m, and what is said of the error holds for the error.
    assert np.hypot(found.x_m - x_m, found.y_m - y_m) < max(3, 4 * found.unc_m)
    assert found.unc_m < 3
    assert found.samples > 25


def test_to_subtract_the_shift_brings_a_survey_back():
    shapes = lakes()
    seen = shapely.box(499_000, 3_099_000, 560_000, 3_104_000)
    away = survey(moved(shapes, 84.0, -37.0), year=1975, seen=translate(seen, 84.0, -37.0))
    found = outline_shift(survey(shapes), away)

    back = corrected(away, found)

    assert (found.x_m, found.y_m) == pytest.approx((84.0, -37.0))
    assert back.seen.equals_exact(seen, 1e-6)
    assert all(a.equals_exact(b, 1e-6) for a, b in zip(back.outlines.geometry, shapes, strict=True))
    assert back.outlines.crs == away.outlines.crs
    assert away.outlines.geometry.iloc[0].equals(translate(shapes[0], 84.0, -37.0))  # untouched
    assert corrected(replace(away, seen=None), found).seen is None


def test_lakes_that_all_grow_towards_one_side_are_not_taken_for_a_shift():
    rng = np.random.default_rng(4)
    before = lakes()

    def grown(share):
        """Towards the east, from a western shore that stays."""
        return [
            scale(s, 1 + rng.uniform(*share), 1, origin=(s.bounds[0], s.bounds[1])) for s in before
        ]

    for share in ((0.0, 0.02), (0.02, 0.08), (0.05, 0.3), (0.2, 1.0)):
        later = survey(redrawn(grown(share)), year=2020)
        (registration, _) = check_registration([survey(before, year=1990), later])

        assert registration.verdict in ("ok", "unmeasured"), share


def test_what_growth_alone_could_feign_is_in_the_uncertainty():
    rng = np.random.default_rng(6)
    before = [lake(500_000 + 2000 * n, 3_100_000, rng, radius_m=400) for n in range(40)]
    grown = [scale(s, 1.02, 1, origin=(s.bounds[0], 0)) for s in redrawn(before, error_m=2)]

    found = outline_shift(survey(before, year=1990), survey(grown, year=2020))
    level = outline_shift(survey(before, year=1990), survey(redrawn(before, error_m=2)))

    assert 5 < found.length_m < 3 * found.unc_m
    assert level.unc_m < 1


@pytest.mark.parametrize(("radius_m", "growth"), [(450, 1.08), (90, 1.13)])
def test_lakes_that_grew_markedly_are_no_evidence(radius_m, growth):
    rng = np.random.default_rng(6)
    before = [lake(500_000 + 2000 * n, 3_100_000, rng, radius_m=radius_m) for n in range(40)]
    grown = [scale(s, growth, 1, origin=(s.bounds[0], 0)) for s in before]

    assert outline_shift(survey(before, year=1990), survey(grown, year=2020)) is None


def test_a_lake_of_the_same_size_but_another_shape_is_another_lake():
    shapes = [scale(s, 2, 0.6) for s in lakes()]

    turned = [rotate(s, 90, origin="centroid") for s in shapes]

    assert outline_shift(survey(shapes), survey(turned, year=1980)) is None


def test_lakes_that_grow_do_not_hide_the_shift_of_those_that_do_not():
    before = lakes(60)
    growing = [scale(s, 1.06, 1, origin=(s.bounds[0], 0)) for s in before[:25]]
    after = moved(redrawn(growing + before[25:]), -61.0, 18.0)

    found = outline_shift(survey(before, year=1990), survey(after, year=2020))

    assert found is not None
    assert (found.x_m, found.y_m) == pytest.approx((-61.0, 18.0), abs=5)


def test_retreating_glaciers_are_not_taken_for_a_shift():
    rng = np.random.default_rng(8)
    # All flow south, and end further north every year.
    heads = [(500_000 + 4000 * n, 3_100_000 + rng.uniform(0, 900)) for n in range(30)]
    ends = rng.uniform(2000, 5000, 30)
    survey_of = {
        year: survey(
            redrawn(
                [
                    shapely.box(x, y - end * (1 - rate * (2020 - year)), x + 700, y).segmentize(60)
                    for (x, y), end in zip(heads, ends, strict=True)
                ],
                seed=year,
            ),
            year=year,
            class_name="glacier",
        )
        for year, rate in ((2020, 0.0), (2010, -0.004), (1980, -0.004))
    }

    verdicts = [r.verdict for r in check_registration(list(survey_of.values()))]

    assert verdicts[0] == "reference"
    assert set(verdicts[1:]) <= {"ok", "unmeasured"}


def test_few_stable_outlines_say_nothing_rather_than_nought():
    shapes = lakes(4)

    assert outline_shift(survey(shapes), survey(shapes, year=1980)) is None
    assert outline_shift(survey(lakes()), survey([], year=1980)) is None
    assert outline_shift(survey([]), survey(lakes(), year=1980)) is None
    (registration, _) = check_registration([survey(shapes, year=1980), survey(shapes)])
    assert registration.verdict == "unmeasured"
    assert registration.shift is None


def test_lakes_of_other_places_have_no_shift():
    def crowd(seed):
        """Many nearly round lakes, near to each other: some look alike wherever they lie."""
        rng = np.random.default_rng(seed)
        places = rng.uniform(0, 6000, (250, 2)) + np.array([500_000, 3_100_000])
        return [shapely.Point(place).buffer(rng.uniform(80, 150)) for place in places]

    found = [
        outline_shift(survey(crowd(seed)), survey(crowd(seed + 50), year=1980)) for seed in range(8)
    ]

    assert found == [None] * 8


def test_outlines_of_different_kinds_are_not_compared():
    shapes = lakes()

    found = outline_shift(survey(shapes), survey(shapes, year=1980, class_name="thaw_slump"))

    assert found is None


def test_one_lake_is_the_same_lake_under_another_class_name():
    shapes = lakes()

    found = outline_shift(
        survey(shapes), survey(moved(shapes, 10, 20), year=1980, class_name="proglacial_lake")
    )

    assert (found.x_m, found.y_m) == pytest.approx((10, 20))


def test_specks_of_a_few_pixels_are_no_evidence():
    rng = np.random.default_rng(2)
    specks = [
        shapely.box(x, y, x + 60, y + 60)
        for x, y in (rng.integers(0, 200, (400, 2)) * 30 + 500_000).tolist()
    ]

    assert outline_shift(survey(specks), survey(moved(specks, 30, 0), year=1980)) is None
    assert outline_shift(survey(specks, gsd_m=5), survey(specks, year=1980, gsd_m=5)) is not None


def test_outlines_that_were_copied_do_not_outvote_those_that_were_drawn_anew():
    shapes = lakes(60)
    half = shapes[:35] + moved(redrawn(shapes[35:]), 0, 24)

    found = outline_shift(survey(shapes), survey(half, year=1980))
    copies = outline_shift(survey(shapes), survey(shapes, year=1980))

    assert (found.x_m, found.y_m) == pytest.approx((0, 24), abs=4)
    assert found.samples <= 25
    assert (copies.x_m, copies.y_m, copies.unc_m) == pytest.approx((0, 0, 0), abs=1e-6)
    assert copies.samples == 60


@pytest.mark.parametrize(
    ("x_m", "verdict"),
    [(4.0, "ok"), (14.0, "ok"), (22.0, "correct"), (170.0, "correct"), (230.0, "refuse")],
)
def test_the_verdict_follows_the_length_of_the_shift(x_m, verdict):
    shapes = lakes(80)
    away = survey(moved(redrawn(shapes), x_m, 0), year=1990)

    registrations = check_registration([away, survey(shapes, year=2020)])

    assert [r.verdict for r in registrations] == [verdict, "reference"]
    assert [r.survey for r in registrations] == ["1990", "2020"]
    assert {r.reference for r in registrations} == {"2020"}
    assert registrations[1].shift.length_m == 0


def test_limits_scale_with_the_coarser_pixel_and_can_be_set():
    shapes = lakes(80)
    fine, coarse = survey(shapes, year=2020, gsd_m=5), survey(shapes, year=2019, gsd_m=10)
    away = replace(coarse, outlines=survey(moved(shapes, 0, 120)).outlines, name="away")

    def verdict(surveys, **limits):
        return check_registration(surveys, **limits)[1].verdict

    assert verdict([fine, away]) == "refuse"  # over ten pixels of 10 m
    assert verdict([fine, replace(away, gsd_m=15)]) == "correct"
    assert verdict([fine, replace(away, gsd_m=None)]) == "correct"  # as of Landsat
    assert verdict([fine, away], refuse_above_m=121) == "correct"
    assert verdict([fine, away], refuse_above_m=1000, correct_above_m=121) == "ok"


def test_a_shift_within_its_own_uncertainty_is_left_alone():
    # Six lakes, drawn carelessly: the shift is over half a pixel, and its error is too.
    shapes = lakes(400)[::60]
    away = survey(moved(redrawn(shapes, error_m=1), 16.0, 0), year=1990)
    scattered = away.outlines.geometry.translate(0, 0)
    scatter = np.array([-45, 40, -30, 38, 44, -38, 5])
    outlines = away.outlines.set_geometry(
        [translate(s, dx, 0) for s, dx in zip(scattered, scatter, strict=True)]
    )

    careless, _ = check_registration([replace(away, outlines=outlines), survey(shapes, year=2020)])
    careful, _ = check_registration([away, survey(shapes, year=2020)])

    assert careless.shift.length_m > 15
    assert careless.verdict == "ok"
    assert careful.verdict == "correct"


def test_the_reference_is_the_newest_of_the_finest_pixel_unless_one_is_named():
    shapes = lakes()
    surveys = [
        survey(shapes, year=y, gsd_m=g)
        for y, g in ((1975, 10), (1990, 30), (2016, 10), (2018, None), (2020, 15))
    ]

    assert check_registration(surveys)[0].reference == "2016"
    assert check_registration(surveys, reference="1990")[0].reference == "1990"
    with pytest.raises(ConfigError, match=r"no survey '1991'.*Did you mean '1990'"):
        check_registration(surveys, reference="1991")
    with pytest.raises(ConfigError, match="no survey to register"):
        check_registration([])


def test_surveys_are_corrected_where_the_verdict_says_so_and_else_left_as_they_are():
    shapes = lakes(80)
    surveys = [
        survey(moved(shapes, 60, -45), year=1975),
        survey(shapes[:3], year=1985),
        survey(moved(shapes, 5, 0), year=1990),
        survey(shapes, year=2020),
    ]

    registrations = check_registration(surveys)
    ready = registered(surveys, registrations)

    assert [r.verdict for r in registrations] == ["correct", "unmeasured", "ok", "reference"]
    assert [a is b for a, b in zip(ready, surveys, strict=True)] == [False, True, True, True]
    assert ready[0].outlines.geometry.iloc[5].equals_exact(shapes[5], 1e-6)


def test_a_survey_too_far_away_is_refused_with_the_figures_and_the_way_out():
    shapes = lakes(80)
    surveys = [survey(moved(shapes, 240, -100), year=1975), survey(shapes, year=2020)]

    with pytest.raises(
        GridError,
        match=r"Survey '1975' lies 260 m from '2020' \(\+240 m in x, -100 m in y, each to "
        r"0\.0 m\), more than 200 m; georeference .*most_shift_m",
    ):
        registered(surveys, check_registration(surveys))


def test_surveys_in_different_reference_systems_are_refused():
    shapes = lakes()

    with pytest.raises(GridError, match=r"'2000' is in .*45N and '1980' in .*46N; bring them"):
        outline_shift(survey(shapes), survey(shapes, year=1980, crs="EPSG:32646"))


def test_outlines_with_holes_parts_and_heights_are_compared_and_empty_ones_passed_over():
    rng = np.random.default_rng(0)
    shapes = [s.difference(s.centroid.buffer(40)) for s in lakes(20)]
    shapes += [
        shapely.union(
            lake(500_000 + 3000 * n, 3_200_000, rng), lake(501_000 + 3000 * n, 3_200_000, rng)
        )
        for n in range(20)
    ]
    high = shapely.force_3d(np.array(shapes, dtype=object), 5000.0)

    found = outline_shift(
        survey([*high, shapely.Polygon()]),
        survey([*moved(shapes, -70, 20), shapely.Polygon()], year=1980),
    )

    assert (found.x_m, found.y_m) == pytest.approx((-70, 20), abs=0.01)
    assert found.samples == 40


@pytest.mark.slow
def test_the_simulated_landscape_is_registered_by_its_tarns_and_by_nothing_else():
    landscape = make_landscape(seed=0)
    drawn = {year: _outlines(landscape, surface(landscape, year)) for year in (1975, 2025)}

    def of(year, classes=None):
        outlines = drawn[year].dissolve(by=["track_id", "class_name"], as_index=False)
        outlines["kind"] = [kind_of(name) for name in outlines.class_name]
        if classes is not None:
            outlines = outlines[outlines.class_name.isin(classes)]
        return replace(survey([], year=year, gsd_m=10), outlines=outlines)

    early, late = of(1975), of(2025)
    away = corrected(early, Shift(x_m=-33.0, y_m=21.0, unc_m=0, samples=9))
    changing = {"clean_ice", "debris_ice", "supraglacial_lake", "proglacial_lake", "thaw_slump"}

    found = outline_shift(late, away)

    assert (found.x_m, found.y_m) == pytest.approx((33.0, -21.0), abs=1)
    assert outline_shift(late, early).length_m < 1
    assert outline_shift(of(2025, changing), of(1975, changing)) is None


@pytest.mark.skipif(not HKH.is_dir(), reason="needs the data set hkh-lakes")
def test_himalayan_lakes_of_2000_lie_on_those_of_2020_and_90_m_are_seen():
    def of(year):
        table = gpd.read_file(HKH / f"HKH_{year}.shp")[["geometry"]]
        table = table.assign(kind="lake", class_name="lake")
        return replace(survey([], year=year), outlines=table)

    first, last = of(2000), of(2020)
    away = corrected(first, Shift(x_m=-90.0, y_m=0.0, unc_m=0, samples=9))

    (now, _) = check_registration([first, last])
    (then, _) = check_registration([away, last])

    assert now.verdict == "ok"
    assert now.shift.length_m < 5
    assert then.verdict == "correct"
    assert then.shift.x_m - now.shift.x_m == pytest.approx(90, abs=0.5)
    assert then.shift.y_m - now.shift.y_m == pytest.approx(0, abs=0.5)
    assert now.shift.samples > 150
