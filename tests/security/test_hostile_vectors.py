"""A vector file from outside reads no other file and asks no host, whatever its content."""

import json
import zipfile
from contextlib import suppress

import geopandas as gpd
import pyogrio
import pytest
import shapely
from nobody import listening
from pyogrio.errors import CRSError, DataSourceError
from shapely.geometry import box

from geoseg.errors import ConfigError, LabelError
from geoseg.inventory.surveys.sources import read_ground
from geoseg.labels import ClassScheme, MapClass, read_outlines
from geoseg.scenes.area import read_area
from geoseg.vectors import opening

VIRTUAL = (
    '<OGRVRTDataSource><OGRVRTLayer name="{name}"><SrcDataSource>{source}</SrcDataSource>'
    "</OGRVRTLayer></OGRVRTDataSource>"
)
SCHEME = ClassScheme(
    (
        MapClass(id=0, name="land", colour="#000000"),
        MapClass(id=1, name="ice", colour="#ffffff"),
    )
)
SQUARE = {"type": "Polygon", "coordinates": [[[7, 46], [8, 46], [8, 47], [7, 46]]]}
FEATURE = {"type": "Feature", "properties": {"a": 1}, "geometry": SQUARE}


@pytest.fixture
def nobody():
    with listening() as server:
        yield server


def collection(**fields):
    return json.dumps({"type": "FeatureCollection", **fields, "features": [FEATURE]})


def hostile(folder, url):
    """Files that GDAL takes for what they are not; each asks the server or reads a local secret."""
    secret = folder / "secret.csv"
    secret.write_text('x,WKT\n1,"POLYGON ((0 0, 1 0, 1 1, 0 0))"\n')
    remote = VIRTUAL.format(name="a", source=f"/vsicurl/{url}/a.geojson")
    local = VIRTUAL.format(name="secret", source=secret)
    step = f"gdal vector pipeline read /vsicurl/{url}/b.geojson ! write --of stream streamed"
    schema = (
        '<wfs:FeatureCollection xmlns:wfs="http://www.opengis.net/wfs" '
        'xmlns:gml="http://www.opengis.net/gml" xmlns:ns1="http://x" '
        'xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" xsi:schemaLocation="http://x '
        f"{url}/wfs?SERVICE=WFS&amp;VERSION=1.1.0&amp;REQUEST=DescribeFeatureType&amp;"
        'TYPENAME=ns1:a http://www.opengis.net/wfs http://schemas.opengis.net/wfs/1.1.0/wfs.xsd">'
        "<gml:featureMember><ns1:a><ns1:x>1</ns1:x></ns1:a></gml:featureMember>"
        "</wfs:FeatureCollection>"
    )
    fetched = {"type": "link", "properties": {"href": f"{url}/crs", "type": "proj4"}}
    texts = {
        "remote.gpkg": remote,
        "remote.shp": remote,
        "remote.geojson": remote,
        "local.json": local,
        "local.kml": local,
        "both.kml": f"<kml >{remote}</kml>",
        "both.geojson": collection(x=remote.replace('"', "'")),
        "both.fgb": f"fgb\x03fgb\x01{remote}",
        "late.geojson": " " * 900 + collection(x=remote.replace('"', "'")),
        "service.shp": f"<OGRWFSDataSource><URL>{url}/wfs</URL></OGRWFSDataSource>",
        "steps.geojson": json.dumps({"type": "gdal_streamed_alg", "command_line": step}),
        "schema.gml": schema,
        "schema.kml": f"<!-- <kml > -->{schema}",
        "other.vrt": remote,
        "process.moaw": json.dumps({"process": f"{url}/processes/a"}),
        "link.geojson": collection(crs=fetched),
        "url.geojson": collection(crs={"type": "url", "properties": {"url": f"{url}/crs"}}),
        "case.json": collection(crs=fetched).replace("crs", "CRS").replace("link", "LiNK"),
        "escaped.json": collection(crs=fetched).replace('"crs"', '"\\u0063rs"'),
        "single.json": collection(crs=fetched).replace('"', "'"),
        "comment.json": collection(crs=fetched).replace('"crs":', '"crs"/**/:'),
        "padded.json": collection(crs=fetched).replace('"link"', " " * 5000 + '"link"'),
        "lines.geojsonl": json.dumps({**FEATURE, "crs": fetched}),
    }
    paths = []
    for name, text in texts.items():
        paths.append(folder / name)
        paths[-1].write_text(text)
    for name, members in {
        "virtual.zip": ["a.vrt"],
        "beside.zip": ["good.geojson", "a.vrt"],
        "named.kmz": ["doc.kml"],
        "linked.zip": ["linked.geojson"],
    }.items():
        paths.append(folder / name)
        with zipfile.ZipFile(paths[-1], "w") as archive:
            for member in members:
                given = collection(crs=fetched) if member == "linked.geojson" else remote
                archive.writestr(member, collection() if member == "good.geojson" else given)
    begun = folder / "begun.kmz"
    begun.write_bytes(remote.encode() + paths[-1].read_bytes())
    link = folder / "link.gpkg"
    link.symlink_to(folder / "other.vrt")
    return [*paths, begun, link]


def test_no_hostile_file_is_opened(tmp_path, nobody):
    files = hostile(tmp_path, nobody.url)

    for path in files:
        with (
            pytest.raises(DataSourceError, match=r"is no GeoPackage, Shapefile, GeoJSON"),
            opening(path),
        ):
            raise AssertionError("it is opened")

    assert len(files) == 29


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    ("name", "asked"),
    [("remote.gpkg", "/a.geojson"), ("both.geojson", "/a.geojson")]
    + [(f"{name}.json", "/crs") for name in ("case", "escaped", "padded")],
)
def test_without_the_list_they_would_ask_a_host(tmp_path, nobody, name, asked):
    """Else what is refused above would be harmless."""
    hostile(tmp_path, nobody.url)

    with suppress(DataSourceError, CRSError):
        pyogrio.read_dataframe(tmp_path / name)

    assert asked in [one.lower() for one in nobody.asked]


@pytest.mark.filterwarnings("ignore")
def test_what_links_in_a_listed_file_lead_to_is_not_fetched(tmp_path, nobody):
    link = {"rel": "next", "href": f"{nobody.url}/next"}
    named = {"type": "name", "properties": {"name": f"{nobody.url}/crs"}}
    texts = {
        "next.geojson": collection(links=[link], next=link["href"]),
        "named.geojson": collection(crs=named),
        "schema.json": collection(**{"$schema": link["href"]}, coordRefSys=link["href"]),
        "net.kml": (
            f'<kml xmlns="http://www.opengis.net/kml/2.2"><Document><NetworkLink><Link><href>'
            f"{link['href']}</href></Link></NetworkLink><Placemark><styleUrl>{link['href']}#a"
            "</styleUrl><Point><coordinates>1,2</coordinates></Point></Placemark></Document></kml>"
        ),
    }
    for name, text in texts.items():
        (tmp_path / name).write_text(text)
        with opening(tmp_path / name) as file:
            assert len(pyogrio.read_dataframe(file)) == 1

    assert nobody.asked == []


def test_readers_of_labels_areas_and_surveys_refuse_them_in_one_sentence(tmp_path, nobody):
    for path in hostile(tmp_path, nobody.url):
        with pytest.raises(LabelError, match=f"^{path} cannot be read as a vector file"):
            read_outlines(path, SCHEME, layer=None, class_of="ice")
        with pytest.raises(ConfigError, match=f"^{path} cannot be read as a vector file"):
            read_area(path)
        with pytest.raises(LabelError, match=f"^{path} cannot be read"):
            read_ground(path)

    assert nobody.asked == []


@pytest.mark.parametrize(
    ("name", "driver"),
    [
        ("a.gpkg", "GPKG"),
        ("a.shp", "ESRI Shapefile"),
        ("a.geojson", "GeoJSON"),
        ("a.json", "GeoJSON"),
        ("a.geojsonl", "GeoJSONSeq"),
        ("a.fgb", "FlatGeobuf"),
        ("a.kml", "KML"),
        ("a.gdb", "OpenFileGDB"),
        ("a.shp.zip", "ESRI Shapefile"),
    ],
)
def test_what_people_have_is_read(tmp_path, name, driver):
    table = gpd.GeoDataFrame({"Name": ["ice"]}, geometry=[box(7, 46, 8, 47)], crs="EPSG:4326")
    pyogrio.write_dataframe(table, tmp_path / name, driver=driver)

    with opening(tmp_path / name) as file:
        found = gpd.read_file(file)

    assert shapely.area(found.geometry.to_numpy()).sum() == pytest.approx(1)
    assert shapely.area(read_area(tmp_path / name).geom) == pytest.approx(1)


def test_a_zipped_geojson_and_a_folder_in_an_archive_are_read(tmp_path):
    table = gpd.GeoDataFrame({"a": [1]}, geometry=[box(7, 46, 8, 47)], crs="EPSG:4326")
    table.to_file(tmp_path / "a.geojson")
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.write(tmp_path / "a.geojson", "a.geojson")

    with opening(tmp_path / "a.zip") as file:
        assert len(gpd.read_file(file)) == 1


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04", b"PK\x03\x04" + bytes(100), b"SQLite"])
def test_a_broken_file_is_refused(tmp_path, content):
    for name in ("a.zip", "a.gpkg", "a.geojson", "a.kml"):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(DataSourceError), opening(tmp_path / name):
            pass


def test_an_archive_with_more_members_than_a_data_set_has_is_refused(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        for number in range(1001):
            archive.writestr(f"{number}.geojson", "{}")

    with pytest.raises(DataSourceError, match="is no GeoPackage"), opening(tmp_path / "a.zip"):
        pass


def test_an_archive_that_is_huge_inside_is_refused_before_all_of_it_is_unpacked(
    tmp_path, monkeypatch
):
    monkeypatch.setattr("geoseg.vectors._ARCHIVE_BYTES", 10_000)
    for name, members in {"few.zip": 4, "many.zip": 6}.items():
        with zipfile.ZipFile(tmp_path / name, "w", zipfile.ZIP_DEFLATED) as archive:
            for number in range(members):
                archive.writestr(f"{number}.geojson", collection().ljust(2000))

    with opening(tmp_path / "few.zip"):
        pass
    with pytest.raises(DataSourceError, match="is no GeoPackage"), opening(tmp_path / "many.zip"):
        pass


def test_an_area_with_heights_is_the_area_without(tmp_path):
    high = shapely.force_3d(box(7, 46, 8, 47), 2500.0)
    table = gpd.GeoDataFrame({"a": [1]}, geometry=[high], crs="EPSG:4326")
    table.to_file(tmp_path / "a.geojson")

    area = read_area(tmp_path / "a.geojson").geom

    assert not area.has_z
    assert shapely.area(area) == pytest.approx(1)
