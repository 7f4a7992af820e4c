import geopandas as gpd
import numpy as np
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st
from pyproj import CRS, Geod, Transformer

from geoseg.labels import geodesic_areas_km2

WGS84 = Geod(ellps="WGS84")
# Where outlines lie in each, in map units: around the pole, across the antimeridian, elsewhere.
PLACES = {
    "EPSG:3413": [(0, 0), (-1_500_000, 1_500_000), (-200_000, -2_300_000)],
    "EPSG:3031": [(0, 0), (0, -1_400_000), (2_000_000, 600_000)],
    "EPSG:32601": [(180_000, 7_300_000), (167_000, 100)],
    "EPSG:32645": [(500_000, 3_100_000)],
    "EPSG:6933": [(17_367_000, 5_000_000), (0, -6_000_000)],
}


def star(centre, radii, turn=0.0):
    angles = np.linspace(0, 2 * np.pi, len(radii), endpoint=False) + turn
    spokes = np.stack([np.cos(angles), np.sin(angles)], axis=1) * np.asarray(radii)[:, None]
    return shapely.Polygon(np.asarray(centre) + spokes)


def frame(*polygons, crs):
    return gpd.GeoDataFrame(geometry=list(polygons), crs=crs)


def ring_km2(ring):
    return abs(WGS84.polygon_area_perimeter(*np.array(ring.coords).T)[0]) / 1e6


def karney_km2(polygon, crs, bend_m):
    to_degrees = Transformer.from_crs(crs, CRS.from_epsg(4326), always_xy=True)
    degrees = shapely.transform(
        shapely.segmentize(polygon, bend_m), lambda xy: np.stack(to_degrees.transform(*xy.T), 1)
    )
    return ring_km2(degrees.exterior) - sum(ring_km2(hole) for hole in degrees.interiors)


@pytest.mark.slow
@settings(max_examples=300, deadline=None)
@given(
    place=st.sampled_from([(crs, xy) for crs, places in PLACES.items() for xy in places]),
    size_m=st.sampled_from([100.0, 1_000.0, 30_000.0, 150_000.0]),
    radii=st.lists(st.floats(0.5, 1.5), min_size=3, max_size=9),
    offset=st.tuples(st.floats(-1, 1), st.floats(-1, 1)),
    bend_m=st.sampled_from([500.0, 1_500.0, 1e9]),
    hole=st.booleans(),
)
def test_areas_are_those_of_karney(place, size_m, radii, offset, bend_m, hole):
    crs, centre = place
    centre = np.array(centre) + size_m * np.array(offset)
    outline = star(centre, size_m * np.array(radii))
    if hole:
        inner = star(centre, size_m * 0.2 * np.ones(5), turn=0.3)
        outline = outline.difference(inner)
        outline = max(shapely.get_parts(outline), key=lambda part: part.area)

    area = geodesic_areas_km2(frame(outline, crs=crs), bend_m=bend_m)[0]

    # Karney's own sum is rounded to some square centimetres.
    assert area == pytest.approx(karney_km2(outline, crs, bend_m), rel=1e-6, abs=1e-7)


@pytest.mark.parametrize(("crs", "latitude"), [("EPSG:3413", 80), ("EPSG:3031", -80)])
def test_a_cap_around_the_pole_has_the_area_of_its_band(crs, latitude):
    from_degrees = Transformer.from_crs(4326, crs, always_xy=True)
    longitude = np.linspace(-180, 180, 3600, endpoint=False)
    cap = shapely.Polygon(np.stack(from_degrees.transform(longitude, [latitude] * 3600), axis=1))
    # The ellipsoid between parallels, by the series of its definition.
    e2, e = WGS84.es, np.sqrt(WGS84.es)
    s = np.sin(np.radians(80))
    q = [(1 - e2) * (x / (1 - e2 * x**2) + np.arctanh(e * x) / e) for x in (s, 1)]
    expected = np.pi * WGS84.a**2 * (q[1] - q[0]) / 1e6

    area = geodesic_areas_km2(frame(cap, crs=crs), bend_m=1000)[0]

    assert area == pytest.approx(expected, rel=1e-6)


def test_the_way_around_a_ring_does_not_matter_nor_the_order_of_parts():
    lake = shapely.box(500_000, 3_100_000, 501_000, 3_100_700)
    pond = shapely.box(502_000, 3_100_000, 502_300, 3_100_200)
    hole = shapely.box(500_200, 3_100_100, 500_400, 3_100_200)
    holed = shapely.Polygon(lake.exterior, [hole.exterior])
    both = shapely.MultiPolygon([holed, shapely.reverse(pond)])

    one, other, turned, all_of_it = geodesic_areas_km2(
        frame(holed, pond, shapely.reverse(holed), both, crs="EPSG:32645"), bend_m=1000
    )

    assert one == pytest.approx(0.68, rel=2e-3)
    assert turned == pytest.approx(one, rel=1e-12)
    assert all_of_it == pytest.approx(one + other, rel=1e-12)


def test_what_is_missing_has_no_area_and_what_is_empty_has_none_of_it():
    outlines = frame(None, shapely.Polygon(), shapely.box(5e5, 3e6, 501_000, 3_001_000), crs=32645)

    areas = geodesic_areas_km2(outlines, bend_m=1000)

    assert np.isnan(areas[0])
    assert areas[1] == 0
    assert areas[2] == pytest.approx(1, rel=2e-3)
    assert geodesic_areas_km2(outlines[:0], bend_m=1000).shape == (0,)


def test_more_outlines_than_are_taken_at_once_keep_their_order():
    side = 10 + np.arange(40_000) % 97
    left = 400_000 + 120 * (np.arange(40_000) % 500)
    low = 3_000_000 + 120 * (np.arange(40_000) // 500)
    outlines = gpd.GeoDataFrame(geometry=shapely.box(left, low, left + side, low + 7), crs=32645)

    areas = geodesic_areas_km2(outlines, bend_m=1000)

    np.testing.assert_allclose(areas, 7 * side / 1e6, rtol=2e-3)
