"""What lies beside a raster, or is named in it, leads GDAL to no other file and no host."""

import base64
import os
import subprocess
import sys
import tempfile
import zlib
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import rasterio
from conftest import write_raster
from nobody import listening
from rasterio.enums import Resampling
from rasterio.transform import from_origin

from geoseg.errors import SceneError
from geoseg.scenes.raster import open_raster

SIDE = 64
OWN, SECRET = 1, 77
# An HDF5 file of h5py: 32 x 32 bytes, whose "external raw storage" is /etc/passwd.
HDF5 = zlib.decompress(
    base64.b85decode(
        "c-rgqaB<`1lHy_j0S*oZ76t(ZWbhvfHn5`dVe$!3nh{EOK<O1sFmXn(oCH){5NbZUx{x4OSCH!eXaHtU1`CAdU>F4>5"
        "qP*d27u@YC?A$ePcWgXD^5)=N-aU8M-K|^Wn^H3n8gU=Yd~lwh=2lA9WI&~=u$?gdl`{ZFe{J-@tK$)2C)OpWrV5$<ro"
        "88=^ZW($x+OV@SMVesxW}2@gRYg?*q_m*H0};)-OmbE-p_2^Mn2TT|oYV`A30yG)<EO04T^k2m"
    )
)


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


def elsewhere(source, key="OVERVIEW_FILE", domain="OVERVIEWS"):
    """Metadata beside a raster that name its overviews."""
    named = f'<MDI key="{key}">{source}</MDI>'
    return f'<PAMDataset><Metadata domain="{domain}">{named}</Metadata></PAMDataset>'


def seems_erdas(source):
    """What GDAL takes for overviews that ERDAS wrote, and opens as a virtual raster."""
    band = (
        f"<Overview><SourceFilename>{source}</SourceFilename><SourceBand>1</SourceBand></Overview>"
    )
    of_raster = '<Metadata domain="HFA"><MDI key="HFA_DEPENDENT_FILE">a.tif</MDI></Metadata>'
    text = virtual(source, SIDE).replace("<VRTRasterBand", f"{of_raster}<VRTRasterBand")
    return "EHFA_HEADER_TAG" + text.replace("<SimpleSource>", f"{band}<SimpleSource>")


def beside_a_side_file(raster, secret, what):
    """Overviews that are a GeoTIFF, and theirs that are none."""
    shape = np.full((1, SIDE // 2, SIDE // 2), OWN, np.uint8)
    side = write_raster(raster.with_name("a.tif.ovr.tif"), shape).rename(f"{raster}.ovr")
    (side.parent / f"{side.name}{what}").write_text(
        elsewhere(secret) if what == ".aux.xml" else virtual(secret, SIDE // 4)
    )


def tagged(raster, secret, key="OVERVIEW_FILE"):
    with rasterio.open(raster, "r+") as opened:
        opened.update_tags(ns="OVERVIEWS", **{key: str(secret)})


HOSTILE = {
    "overviews": lambda r, s: r.with_name("a.tif.ovr").write_text(virtual(s, SIDE // 2)),
    "capitals": lambda r, s: r.with_name("a.tif.OVR").write_text(virtual(s, SIDE // 2)),
    "mixed": lambda r, s: r.with_name("A.tif.Ovr").write_text(virtual(s, SIDE // 2)),
    "mask": lambda r, s: r.with_name("a.tif.msk").write_text(virtual(s, SIDE)),
    "metadata": lambda r, s: r.with_name("a.tif.aux.xml").write_text(elsewhere(s)),
    "small metadata": lambda r, s: r.with_name("a.tif.aux.xml").write_text(
        elsewhere(s, "Overview_File", "overviews")
    ),
    "tag": tagged,
    "small tag": lambda r, s: tagged(r, s, "overview_file"),
    "aux": lambda r, s: r.with_name("a.aux").write_text(seems_erdas(s)),
    "whole aux": lambda r, s: r.with_name("a.tif.aux").write_text(seems_erdas(s)),
    "small aux": lambda r, s: r.with_name("a.aux").write_text(
        seems_erdas(s).replace("EHFA", "ehfa")
    ),
    "link": lambda r, s: r.with_name("a.tif.ovr").symlink_to(s),
    "folder": lambda r, _: r.with_name("a.tif.ovr").mkdir(),
    "pipe": lambda r, _: os.mkfifo(r.with_name("a.tif.msk")),
    "overviews of overviews": lambda r, s: beside_a_side_file(r, s, ".ovr"),
    "metadata of overviews": lambda r, s: beside_a_side_file(r, s, ".aux.xml"),
}


SHOWN = ["overviews", "mixed", "metadata", "small metadata", "tag", "small tag"]


@pytest.mark.parametrize("kind", [*SHOWN, "aux", "whole aux", "small aux", "link"])
def test_without_the_check_they_would_show_another_file(raster, secret, kind):
    HOSTILE[kind](raster, secret)

    with rasterio.open(raster, driver="GTiff") as opened:
        seen = opened.read(1, out_shape=(SIDE // 2, SIDE // 2))

    assert set(seen.ravel()) == {SECRET}


REFUSED = r"is no (GeoTIFF|ERDAS file|file)|may be any file|is a link out of its folder"


@pytest.mark.parametrize("overview", [None, 0])
@pytest.mark.parametrize("kind", HOSTILE)
def test_a_raster_whose_parts_lie_elsewhere_is_refused(raster, secret, kind, overview):
    HOSTILE[kind](raster, secret)

    with pytest.raises(SceneError, match=REFUSED):
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


@pytest.mark.filterwarnings("ignore:Dataset has no geotransform")
def test_arrays_whose_values_lie_in_another_file_are_refused(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    secret = bytes([SECRET]) * 1024
    Path("theirs.bin").write_bytes(secret)
    Path("a.nc").write_bytes(HDF5.replace(b"/etc/passwd", b"theirs.bin\0"))
    with rasterio.Env() as env:
        reads = "netCDF" in env.drivers()
    if reads:
        with rasterio.open("a.nc", driver="netCDF") as opened:
            assert opened.read(1).tobytes() == secret

    with pytest.raises(SceneError, match="cannot be opened as a raster"):
        open_raster(Path("a.nc"))


def test_parts_serve_where_the_raster_and_they_are_links_to_one_folder(raster, tmp_path):
    with rasterio.Env(TIFF_USE_OVR=True), rasterio.open(raster, "r+") as opened:
        opened.build_overviews([2], Resampling.average)
    linked = tmp_path / "linked"
    linked.mkdir()
    for name in ("a.tif", "a.tif.ovr"):
        (linked / name).symlink_to(tmp_path / name)

    with open_raster(linked / "a.tif") as opened:
        assert opened.overviews(1) == [2]


def test_aux_files_of_erdas_and_of_other_programs_do_no_harm(raster):
    raster.with_name("a.aux").write_text("\\relax\n")
    with rasterio.Env(USE_RRD=True), rasterio.open(raster, "r+") as opened:
        opened.build_overviews([2], Resampling.average)
    aux = [path for path in raster.parent.glob("*.aux") if path.read_bytes()[:4] == b"EHFA"]

    with open_raster(raster) as opened:
        assert opened.count == 1
    assert len(aux) == 1


@contextmanager
def as_nobody():
    """As a user whom permissions bind."""
    if os.geteuid():
        yield
        return
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


def test_side_files_are_found_in_a_folder_that_may_not_be_listed(raster, secret):
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        copy = folder / "a.tif"
        copy.write_bytes(raster.read_bytes())
        folder.chmod(0o311)
        with as_nobody():
            with pytest.raises(PermissionError):
                list(folder.iterdir())
            with open_raster(copy) as opened:
                assert opened.overviews(1) == []
        for side in ("a.tif.ovr", "a.tif.OVR", "a.tif.msk"):
            (folder / side).write_text(virtual(secret, SIDE // 2))
            with as_nobody(), pytest.raises(SceneError, match="is no GeoTIFF"):
                open_raster(copy)
            (folder / side).unlink()
        for side in ("a.aux", "a.AUX", "a.tif.aux"):
            (folder / side).write_text(seems_erdas(secret))
            with as_nobody(), pytest.raises(SceneError, match="is no ERDAS file"):
                open_raster(copy)
            (folder / side).unlink()
        folder.chmod(0o700)


VIEWED = """
import sys
from pathlib import Path
import rasterio
from typer.testing import CliRunner
from geoseg.cli import app
from geoseg.viewer.tiles import RasterTiles, tile_grid

path, empty, view = Path(sys.argv[1]), sys.argv[2], sys.argv[3] == "view"
if view:
    assert "nothing that can be shown" in str(CliRunner().invoke(app, ["view", empty]).exception)
with rasterio.open(path, driver="GTiff") as opened:
    try:
        opened.read(1, out_shape=(32, 32))
    except rasterio.errors.RasterioError:
        pass
path.with_name("a.tif.ovr").unlink()
assert RasterTiles().read(path, [1], tile_grid(0, 0, 0)).values.shape == (1, 256, 256)
"""


@pytest.mark.slow
@pytest.mark.parametrize("command", ["view", "none"])
def test_the_page_of_a_folder_asks_no_host_for_a_side_file_that_nobody_thought_of(
    raster, tmp_path, command
):
    (tmp_path / "empty").mkdir()
    with listening() as nobody:
        source = f"/vsicurl/{nobody.url}/a.tif"
        raster.with_name("a.tif.ovr").write_text(virtual(source, SIDE // 2))
        script = [sys.executable, "-c", VIEWED, raster, tmp_path / "empty", command]
        done = subprocess.run(script, capture_output=True, text=True, check=False, timeout=300)

    assert done.returncode == 0, done.stderr
    assert bool(nobody.asked) == (command == "none")
