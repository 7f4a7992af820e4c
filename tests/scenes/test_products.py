from datetime import UTC, datetime, timedelta

import fake_products as fake
import pytest
import rasterio

from geoseg.errors import SceneError
from geoseg.scenes import SunPosition
from geoseg.scenes.products import (
    UnplacedError,
    group_bands,
    read_geotiff,
    read_product,
    recognise,
    versions,
)
from geoseg.scenes.products.film import entity_of, mission_interval
from geoseg.scenes.products.geotiff import dates_in
from geoseg.scenes.products.sentinel2 import choose_bands
from geoseg.sensors import find_sensor


def read(path):
    return read_product(recognise(path))


@pytest.mark.parametrize("text", [True, False])
def test_a_landsat_folder_is_a_scene(tmp_path, text):
    folder = fake.make_landsat(tmp_path, text=text)
    mtl = folder / f"{fake.LANDSAT}_MTL.{'txt' if text else 'json'}"

    (scene,) = read(mtl)

    assert scene.id == fake.LANDSAT
    assert scene.sensor_id == "landsat-8"
    assert scene.start == datetime(2016, 8, 17, 4, 41, 56, 286176, tzinfo=UTC)
    assert {n: a.path.name for n, a in scene.bands.items()} == {
        "red": f"{fake.LANDSAT}_B4.TIF",
        "nir08": f"{fake.LANDSAT}_B5.TIF",
    }
    assert {a.nodata for a in scene.bands.values()} == {0.0}
    assert scene.sun == SunPosition(azimuth=211.5, elevation=58.25)
    assert scene.cloud_percent == 12.34
    assert scene.metadata == mtl
    assert scene.quality.path.name == f"{fake.LANDSAT}_QA_PIXEL.TIF"


def test_the_panchromatic_band_of_landsat_is_a_scene_of_its_own(tmp_path):
    folder = fake.make_landsat(tmp_path, pan=True)

    scene, pan = read(folder / f"{fake.LANDSAT}_MTL.json")

    assert list(scene.bands) == ["red", "nir08"]
    assert pan.id == f"{fake.LANDSAT}_PAN"
    assert list(pan.bands) == ["pan"]


@pytest.mark.parametrize(
    ("product", "sensor", "key", "band"),
    [
        ("LM05_L1TP_140041_19850817_20200906_02_T2", "landsat-5-mss", "FILE_NAME_BAND_4", "nir08"),
        ("LM02_L1TP_150041_19770817_20200906_02_T2", "landsat-2", "FILE_NAME_BAND_4", "green"),
        ("LT05_L2SP_140041_19950817_20200906_02_T1", "landsat-5", "FILE_NAME_BAND_4", "nir08"),
        (
            "LE07_L1TP_140041_20000817_20200906_02_T1",
            "landsat-7",
            "FILE_NAME_BAND_6_VCID_1",
            "lwir",
        ),
        (
            "LC09_L2SP_140041_20220817_20230406_02_T1",
            "landsat-9",
            "FILE_NAME_BAND_ST_B10",
            "lwir11",
        ),
    ],
)
def test_sensor_and_band_of_landsat_follow_its_product_id(tmp_path, product, sensor, key, band):
    path = tmp_path / f"{product}_MTL.txt"
    groups = fake.mtl(product, bands={key: "band"}, image={"CLOUD_COVER": "-1"})
    path.write_text(fake.as_text(groups))
    fake.ones(tmp_path / f"{product}_band.TIF")

    (scene,) = read(path)

    assert scene.sensor_id == sensor
    assert list(scene.bands) == [band]
    assert scene.cloud_percent is None
    assert scene.quality is None


def test_metadata_that_lead_out_of_a_product_are_refused(tmp_path):
    path = tmp_path / f"{fake.LANDSAT}_MTL.txt"
    for name in ("../secret.TIF", "/etc/passwd", "http://example.org/x.TIF"):
        groups = fake.mtl(fake.LANDSAT, bands={})
        groups["PRODUCT_CONTENTS"]["FILE_NAME_BAND_4"] = name
        path.write_text(fake.as_text(groups))

        with pytest.raises(SceneError, match="which is not in its folder; fetch it again"):
            read(path)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("", "has no group PRODUCT_CONTENTS; it is no MTL of Collection 2"),
        ("GROUP = PRODUCT_CONTENTS\nA = 1\nEND", "has no group IMAGE_ATTRIBUTES"),
        (
            "GROUP = PRODUCT_CONTENTS\nA = 1\nEND_GROUP = PRODUCT_CONTENTS\n"
            "GROUP = IMAGE_ATTRIBUTES\nB = 1",
            "names no band that lies beside it",
        ),
    ],
)
def test_a_cut_mtl_is_refused_in_one_sentence(tmp_path, content, reason):
    path = tmp_path / f"{fake.LANDSAT}_MTL.txt"
    path.write_text(content)

    with pytest.raises(SceneError, match=reason):
        read(path)


def test_a_safe_is_a_scene_with_bands_at_their_own_pixels(tmp_path):
    top = fake.make_safe(tmp_path)

    (scene,) = read(top / "MTD_MSIL2A.xml")

    assert scene.id == fake.SAFE
    assert scene.sensor_id == "sentinel-2"
    assert scene.start == datetime(2020, 9, 9, 6, 50, 31, 24000, tzinfo=UTC)
    gsd = {name: asset.path.stem[-3:] for name, asset in scene.bands.items()}
    assert gsd == {"coastal": "60m", "blue": "10m", "red": "10m", "nir08": "20m"}
    assert {a.nodata for a in scene.bands.values()} == {0.0}
    assert scene.sun == SunPosition(azimuth=155.5, elevation=50.0)
    assert scene.cloud_percent == 7.5
    assert scene.metadata == top / "MTD_MSIL2A.xml"
    assert scene.quality.path.stem.endswith("_SCL_20m")


def test_a_band_without_its_own_pixels_is_taken_from_the_nearest_coarser_ones():
    level_1 = choose_bands(["GRANULE/L1C/IMG_DATA/T45RVL_B8A", "GRANULE/L1C/IMG_DATA/T45RVL_B10"])
    level_2 = choose_bands(["x_B02_60m", "x_B02_20m", "x_B01_20m", "x_B01_60m", "x_TCI_10m"])
    # Finer pixels than the instrument has are made up.
    resampled = choose_bands(["x_B05_10m", "x_B05_60m"])

    assert level_1 == {
        "nir08": "GRANULE/L1C/IMG_DATA/T45RVL_B8A",
        "cirrus": "GRANULE/L1C/IMG_DATA/T45RVL_B10",
    }
    assert level_2 == {"coastal": "x_B01_60m", "blue": "x_B02_20m"}
    assert resampled == {"rededge071": "x_B05_60m"}


@pytest.mark.parametrize(
    ("order", "wanted"),
    [
        (fake.DISPLAY, {"red": 1, "green": 2, "blue": 3, "nir": 4}),
        (
            fake.INDEX.format(
                "".join(
                    f"<Raster_Index><BAND_ID>B{i}</BAND_ID><BAND_INDEX>{i + 1}</BAND_INDEX>"
                    "</Raster_Index>"
                    for i in range(4)
                )
            )
            + fake.DISPLAY,
            {"blue": 1, "green": 2, "red": 3, "nir": 4},
        ),
    ],
)
def test_the_bands_of_dimap_lie_where_its_metadata_say(tmp_path, order, wanted):
    (scene,) = read(fake.make_pleiades(tmp_path, order=order))

    assert scene.id == f"DS_{fake.PHR}"
    assert scene.sensor_id == "pleiades-1a"
    assert scene.start == datetime(2014, 8, 10, 10, 46, 5, 900000, tzinfo=UTC)
    assert {name: asset.index for name, asset in scene.bands.items()} == wanted
    assert {a.nodata for a in scene.bands.values()} == {0.0}
    assert scene.sun == SunPosition(azimuth=147.5, elevation=52.5)
    assert scene.cloud_percent == 3


def test_tiles_of_dimap_are_scenes(tmp_path):
    scenes = read(fake.make_pleiades(tmp_path, tiles=("R1C1", "R1C2")))

    assert [scene.id for scene in scenes] == [f"DS_{fake.PHR}_R1C1", f"DS_{fake.PHR}_R1C2"]
    assert scenes[1].bands["red"].path.name == f"IMG_{fake.PHR}_R1C2.TIF"


@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
def test_dimap_in_the_geometry_of_the_sensor_is_not_placed(tmp_path):
    path = fake.make_pleiades(tmp_path, placed=False)

    with pytest.raises(
        UnplacedError, match=r"has no georeference; orthorectify it with `gdalwarp -rpc`"
    ):
        read(path)


def test_dimap_1_is_read_too(tmp_path):
    (scene,) = read(fake.make_spot5(tmp_path))

    assert scene.sensor_id == "spot-5"
    assert {n: a.index for n, a in scene.bands.items()} == {
        "nir": 1, "red": 2, "green": 3, "swir16": 4,
    }  # fmt: skip


def test_xml_with_entities_is_refused(tmp_path):
    path = fake.make_pleiades(tmp_path)
    bomb = '<?xml version="1.0"?><!DOCTYPE x [<!ENTITY a "b">]>'
    path.write_text(path.read_text().replace('<?xml version="1.0" encoding="UTF-8"?>', bomb))

    with pytest.raises(SceneError, match="declares a type or an entity"):
        read(path)


@pytest.mark.parametrize(
    ("name", "mission", "sensor"),
    [
        ("DS1112-1023DA012", 1112, "corona-kh4b"),
        ("ds1022-1024DF007_a", 1022, "corona-kh4a"),
        ("DZB1216-500280L002001_b", 1216, "hexagon-kh9-mapping"),
        ("D3C1213-200346A003", 1213, "hexagon-kh9-panoramic"),
    ],
)
def test_film_is_known_by_its_entity(name, mission, sensor):
    entity = entity_of(name)

    assert (entity.mission, entity.sensor_id) == (mission, sensor)
    assert name.upper().startswith(entity.id)


def test_film_of_an_unknown_camera_is_refused(tmp_path):
    path = fake.ones(tmp_path / "DZB00403600089H015001.tif")

    with pytest.raises(SceneError, match="film of a camera or mission that geoseg does not know"):
        read(path)


@pytest.mark.parametrize(
    ("mission", "day"),
    [
        (1022, (1965, 7, 21)),
        (1052, (1969, 9, 27)),
        (1101, (1967, 9, 26)),
        (1104, (1968, 8, 11)),
        (1205, (1973, 3, 28)),
        (1206, (1973, 8, 1)),
        (1210, (1975, 7, 24)),
        (1212, (1976, 8, 26)),
        (1216, (1980, 8, 22)),
        (1217, (1982, 5, 23)),
    ],
)
def test_frames_that_usgs_dates_lie_within_their_missions(mission, day):
    interval = mission_interval(mission)

    assert interval.start <= datetime(*day, tzinfo=UTC) < interval.end


@pytest.mark.parametrize(
    ("mission", "launch", "reentry"),
    [
        # Of the NORAD catalogue: OPS 5640, OPS 6617, OPS 7293, OPS 8314, OPS 4800.
        (1116, (1972, 4, 19), (1972, 5, 12)),
        (1108, (1969, 12, 4), (1970, 1, 10)),
        (1203, (1972, 7, 7), (1972, 9, 13)),
        (1204, (1972, 10, 10), (1973, 1, 8)),
        (1213, (1977, 6, 27), (1977, 12, 23)),
    ],
)
def test_a_mission_lasts_from_its_launch_to_its_reentry(mission, launch, reentry):
    interval = mission_interval(mission)

    assert interval.start == datetime(*launch, tzinfo=UTC)
    assert interval.end == datetime(*reentry, tzinfo=UTC) + timedelta(days=1)


def test_a_mission_that_was_lost_took_no_frame():
    assert mission_interval(1113) is None


def test_film_is_as_long_as_its_mission_unless_its_name_gives_a_day(tmp_path):
    (scene,) = read(fake.ones(tmp_path / "D3C1217-100109F007.tif"))
    (dated,) = read(fake.ones(tmp_path / "1982-05-23_D3C1217-100109F007.tif"))
    # No day of the mission: the day of the scan, say.
    (scanned,) = read(fake.ones(tmp_path / "D3C1217-100109F007_20190814.tif"))

    assert (scene.start, scene.end) == mission_interval(1217)
    assert str(dated.start.date()) == "1982-05-23"
    assert (dated.end - dated.start).days == 1
    assert scanned.end == scene.end
    assert list(scene.bands) == ["pan"]


@pytest.mark.parametrize(
    ("name", "days"),
    [
        ("ortho_2019-08-14", ["2019-08-14"]),
        ("ortho_20190814T103021_x", ["2019-08-14"]),
        ("HLS.L30.2019226.v2", ["2019-08-14"]),
        ("2019_08_14", ["2019-08-14"]),
        ("a_20190814_2019226", ["2019-08-14"]),
        ("20190814_20190820", ["2019-08-14", "2019-08-20"]),
        ("20191314", []),
        ("2019366", []),
        ("2020366", ["2020-12-31"]),
        ("14-08-2019", []),
        ("id_1201908145", []),
    ],
)
def test_days_in_names(name, days):
    assert [str(day) for day in dates_in(name)] == days


def test_bands_of_a_plain_geotiff_are_in_the_order_of_its_sensor_or_named(tmp_path):
    four = fake.ones(tmp_path / "a_20190814.tif", count=4)
    (group,) = group_bands([four], find_sensor("planetscope-dove"))

    (scene,) = read_geotiff(group, "planetscope-dove")

    assert list(scene.bands) == ["blue", "green", "red", "nir"]
    assert str(scene.start.date()) == "2019-08-14"
    with pytest.raises(SceneError, match="has 4 bands, and nothing says which of landsat-7 they"):
        read_geotiff(group, "landsat-7")
    with pytest.raises(SceneError, match="does not say what took it; give --sensor"):
        read_geotiff(group, None)
    with rasterio.open(four, "r+") as raster:
        raster.descriptions = ("B4", "red", "B2", "B1")
    (named,) = read_geotiff(group, "landsat-7")
    assert {n: a.index for n, a in named.bands.items()} == {
        "nir08": 1, "red": 2, "green": 3, "blue": 4,
    }  # fmt: skip


def test_files_of_single_bands_are_one_scene(tmp_path):
    names = ("hls_B8A_20190814", "hls_B04_20190814", "hls_B04_20190820", "dem")
    paths = [fake.ones(tmp_path / f"{name}.tif") for name in names]

    first, second, third = group_bands(paths, find_sensor("sentinel-2"))
    (scene,) = read_geotiff(first, "sentinel-2")

    assert scene.id == "hls_20190814"
    assert {n: a.path.stem for n, a in scene.bands.items()} == {
        "red": "hls_B04_20190814",
        "nir08": "hls_B8A_20190814",
    }
    assert second.name == "hls_20190820"
    assert third.files == {None: tmp_path / "dem.tif"}
    with pytest.raises(SceneError, match="has no day in its name; name it by one day"):
        read_geotiff(third, "sentinel-2")


def test_versions_of_a_product_stand_together_newest_first(tmp_path):
    old = fake.LANDSAT.replace("20200906", "20160901").replace("T1", "RT")
    other = fake.LANDSAT.replace("L1TP", "L2SP")
    paths = [tmp_path / f"{name}_MTL.txt" for name in (old, fake.LANDSAT, other)]

    groups = versions([recognise(path) for path in paths])

    assert [[p.path.name[:40] for p in g.products] for g in groups] == [
        [fake.LANDSAT, old],
        [other],
    ]


def test_granules_of_one_take_are_no_versions_of_each_other(tmp_path):
    newer = fake.SAFE.replace("N0214", "N0500").replace("083937", "120000")
    split = fake.SAFE.replace("083937", "090000")
    tops = [fake.make_safe(tmp_path, name) for name in (fake.SAFE, newer)]
    tops.append(fake.make_safe(tmp_path, split, granule="L2A_T45RVL_A027243_20200909T070500"))

    groups = versions([recognise(top / "MTD_MSIL2A.xml") for top in tops])

    assert [[p.path.parent for p in g.products] for g in groups] == [[tops[1], tops[0]], [tops[2]]]
