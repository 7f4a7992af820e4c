"""What lies beside a raster, or is named in it, leads GDAL to no other file and no host."""

import numpy as np
import pytest
import rasterio
from conftest import write_raster
from rasterio.enums import Resampling
from rasterio.transform import from_origin

from geoseg.errors import SceneError
from geoseg.scenes.raster import open_raster

SIDE = 64
OWN, SECRET = 1, 77


@pytest.fixture
def secret(tmp_path):
    """A raster of somebody else on this machine."""
    (tmp_path / "theirs").mkdir()
    return write_raster(
        tmp_path / "theirs" / "s.tif", np.full((1, SIDE // 2, SIDE // 2), SECRET, np.uint8)
    )


@pytest.fixture
def raster(tmp_path):
    return write_raster(tmp_path / "a.tif", np.full((1, SIDE, SIDE), OWN, np.uint8))


def virtual(source, side):
    return (
        f'<VRTDataset rasterXSize="{side}" rasterYSize="{side}"><VRTRasterBand dataType="Byte" '
        f'band="1"><SimpleSource><SourceFilename>{source}</SourceFilename><SourceBand>1'
        "</SourceBand></SimpleSource></VRTRasterBand></VRTDataset>"
    )


def elsewhere(source):
    """Metadata beside a raster that name its overviews."""
    named = f'<MDI key="OVERVIEW_FILE">{source}</MDI>'
    return f'<PAMDataset><Metadata domain="OVERVIEWS">{named}</Metadata></PAMDataset>'


def beside_a_side_file(raster, secret, what):
    """Overviews that are a GeoTIFF, and theirs that are none."""
    shape = np.full((1, SIDE // 2, SIDE // 2), OWN, np.uint8)
    side = write_raster(raster.with_name("a.tif.ovr.tif"), shape).rename(f"{raster}.ovr")
    (side.parent / f"{side.name}{what}").write_text(
        elsewhere(secret) if what == ".aux.xml" else virtual(secret, SIDE // 4)
    )


def tagged(raster, secret):
    with rasterio.open(raster, "r+") as opened:
        opened.update_tags(ns="OVERVIEWS", OVERVIEW_FILE=str(secret))


HOSTILE = {
    "overviews": lambda r, s: r.with_name("a.tif.ovr").write_text(virtual(s, SIDE // 2)),
    "capitals": lambda r, s: r.with_name("a.tif.OVR").write_text(virtual(s, SIDE // 2)),
    "mixed": lambda r, s: r.with_name("A.tif.Ovr").write_text(virtual(s, SIDE // 2)),
    "mask": lambda r, s: r.with_name("a.tif.msk").write_text(virtual(s, SIDE)),
    "metadata": lambda r, s: r.with_name("a.tif.aux.xml").write_text(elsewhere(s)),
    "tag": tagged,
    "overviews of overviews": lambda r, s: beside_a_side_file(r, s, ".ovr"),
    "metadata of overviews": lambda r, s: beside_a_side_file(r, s, ".aux.xml"),
}


@pytest.mark.parametrize("kind", ["overviews", "mixed", "metadata", "tag"])
def test_without_the_check_they_would_show_another_file(raster, secret, kind):
    HOSTILE[kind](raster, secret)

    with rasterio.open(raster, driver="GTiff") as opened:
        seen = opened.read(1, out_shape=(SIDE // 2, SIDE // 2))

    assert set(seen.ravel()) == {SECRET}


@pytest.mark.parametrize("overview", [None, 0])
@pytest.mark.parametrize("kind", HOSTILE)
def test_a_raster_whose_parts_lie_elsewhere_is_refused(raster, secret, kind, overview):
    HOSTILE[kind](raster, secret)

    with pytest.raises(SceneError, match=r"is no GeoTIFF|may be any file"):
        open_raster(raster, overview=overview)


@pytest.mark.parametrize("config", [{}, {"TIFF_USE_OVR": True}], ids=["inside", "beside"])
def test_overviews_of_its_own_serve(raster, config):
    with rasterio.Env(**config), rasterio.open(raster, "r+") as opened:
        opened.build_overviews([2, 4], Resampling.average)
    raster.with_name("a.tif.aux.xml").write_text("<PAMDataset></PAMDataset>")

    with open_raster(raster) as opened, open_raster(raster, overview=1) as coarse:
        assert opened.overviews(1) == [2, 4]
        assert coarse.shape == (SIDE // 4, SIDE // 4)
        assert set(coarse.read(1).ravel()) == {OWN}
    assert raster.with_name("a.tif.ovr").exists() == bool(config)


def test_a_mask_of_its_own_serves(raster):
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=False), rasterio.open(raster, "r+") as opened:
        opened.write_mask(np.eye(SIDE, dtype=bool))

    with open_raster(raster) as opened:
        assert (opened.dataset_mask() > 0).sum() == SIDE
    assert raster.with_name("a.tif.msk").exists()


def test_pixels_of_an_erdas_image_serve_beside_it_and_from_nowhere_else(tmp_path):
    image = tmp_path / "here" / "pixels.img"
    image.parent.mkdir()
    profile = {"driver": "HFA", "width": SIDE, "height": SIDE, "count": 1, "dtype": "uint8"}
    placed = {"crs": "EPSG:32633", "transform": from_origin(500_000, 5_000_000, 10, 10)}
    with rasterio.open(image, "w", USE_SPILL="YES", **profile, **placed) as opened:
        opened.write(np.full((1, SIDE, SIDE), OWN, np.uint8))
    with open_raster(image) as opened:
        assert set(opened.read(1).ravel()) == {OWN}

    image.with_suffix(".ige").rename(tmp_path / "away.ig")
    image.write_bytes(image.read_bytes().replace(b"pixels.ige", b"../away.ig"))

    with rasterio.open(image, driver="HFA") as opened:
        assert set(opened.read(1).ravel()) == {OWN}
    with pytest.raises(SceneError, match=r"away\.ig' as a part of it, which may be any file"):
        open_raster(image)
