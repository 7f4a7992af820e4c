"""Images that are damaged, disguised, huge or nowhere, for benchmarks/reliability.py."""

from __future__ import annotations

import io
import json
import re
import subprocess
import time
from contextlib import suppress
from typing import TYPE_CHECKING

import numpy as np
import rasterio
import torch
from command_line import GEOSEG, geoseg_here
from conftest import CRS, write_raster
from nobody import listening
from peak_memory import peak_bytes
from PIL import Image
from rasterio.errors import RasterioError, RasterioIOError
from rasterio.transform import from_origin
from reliability_kills import train_in
from reliability_row import (
    MOST_BYTES,
    Ground,
    Hazard,
    Row,
    files_below,
    require,
    require_answered,
    require_ended,
)
from reliability_scenes import SMALL, noise, write_archive, write_item, write_noise
from scale_ddp import write_scenes
from test_side_files import HDF5, OWN, SIDE
from test_side_files import HOSTILE as SIDE_FILES
from test_side_files import SECRET as SHOWN

from geoseg.errors import GeosegError
from geoseg.labels import IGNORE
from geoseg.models import read_tensors
from geoseg.presence.packs.pixels import decode
from geoseg.scenes.raster import open_raster

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from numpy.typing import NDArray

CUT = 100
CUT_SHORT = (
    "is truncated or damaged",
    "cannot be opened as a raster",
    "has no coordinate reference system",
)
SECRET = "root:x:0:0"
HUGE_S = 20.0  # of mapping what never ends, after its first tiles
TILES_DONE = re.compile(r": [1-9]\d*/\d+, ")
SPECIAL = ("folder", "pipe")  # which would stop who opens them without care
VRT = (
    '<VRTDataset rasterXSize="90" rasterYSize="70"><SRS>EPSG:32645</SRS><GeoTransform>500000,30,0,'
    "3100000,0,-30</GeoTransform>{bands}</VRTDataset>"
)
SIMPLE = (
    '<VRTRasterBand dataType="Byte" band="{band}"><SimpleSource><SourceFilename>{source}'
    "</SourceFilename><SourceBand>1</SourceBand></SimpleSource></VRTRasterBand>"
)
RAW = (
    '<VRTRasterBand dataType="Byte" band="{band}" subClass="VRTRawRasterBand"><SourceFilename '
    'relativetoVRT="0">/etc/passwd</SourceFilename><ImageOffset>0</ImageOffset></VRTRasterBand>'
)
CODE = (
    '<VRTRasterBand dataType="Byte" band="{band}" subClass="VRTDerivedRasterBand">'
    "<PixelFunctionType>touch</PixelFunctionType><PixelFunctionLanguage>Python"
    "</PixelFunctionLanguage><PixelFunctionCode>open('{touched}', 'w')</PixelFunctionCode>"
    "</VRTRasterBand>"
)


def truncated(row: Row, ground: Ground) -> None:
    """A hundred images of an archive end too soon; three do not."""
    names = [f"cut{number:03d}" for number in range(CUT)]
    good = ["good0", "good1", "good2"]
    catalog = write_archive(ground.folder, [*names, *good])
    for number, name in enumerate(names):
        path = ground.folder / f"{name}.tif"
        content = path.read_bytes()
        path.write_bytes(content[: len(content) * number // CUT])
    out = ground.folder / "maps"
    ask = ("predict", "--model", ground.model, "--scenes", catalog, "--out", out, *SMALL)
    done = geoseg_here(*ask, "--json")
    require(done.returncode == 1, f"exit code {done.returncode}: {done.stderr[-200:]}")
    found = {scene["scene"]: scene["error"] or "" for scene in json.loads(done.stdout)["scenes"]}
    for name in names:
        with row.trying(name):
            told = found[name]
            require(f"{name}.tif" in told, f"it says {told!r}")
            # A cut through the header may leave an image that is whole, and lies nowhere.
            require(any(words in told for words in CUT_SHORT), f"it says {told!r}")
            require(not (out / name).exists(), "it has maps")
    require([found[name] for name in good] == [""] * 3, "a good scene failed too")
    require(len(files_below(out)) == 3 * len(good), "maps are missing or too many")


def disguises(folder: Path, url: str) -> Iterator[Path]:
    """Files that GDAL takes for what they are not, each with the name of an image."""

    def virtual(band: str, **given: object) -> str:
        return VRT.format(bands="".join(band.format(band=n, **given) for n in (1, 2)))

    remote = virtual(SIMPLE, source=f"/vsicurl/{url}/a.tif")
    service = f"<Service name='TMS'><ServerUrl>{url}/${{z}}</ServerUrl></Service>"
    tiles = {"type": "Feature", "stac_version": "1.0.0", "stac_extensions": ["tiled-assets"]}
    texts = {f"remote{end}": remote for end in (".tif", ".tiff", ".jp2", ".png", ".jpg", ".img")}
    texts |= {
        "remote.nc": remote,
        "local.tif": virtual(SIMPLE, source="/etc/passwd"),
        "raw.tif": virtual(RAW),
        "code.tif": virtual(CODE, touched=folder / "touched"),
        "late.tif": f"<!-- II*\0 -->{remote}",
        "service.tif": f"<GDAL_WMS>{service}</GDAL_WMS>",
        "wmts.tif": f"<GDAL_WMTS><GetCapabilitiesUrl>{url}/wmts</GetCapabilitiesUrl></GDAL_WMTS>",
        "wcs.tif": f"<WCS_GDAL><ServiceURL>{url}/wcs?</ServiceURL></WCS_GDAL>",
        "ogcapi.tif": f"<OGCAPI><URL>{url}/ogcapi</URL></OGCAPI>",
        "stacit.tif": json.dumps({"type": "FeatureCollection", "stac_version": "1.0.0"}),
        "stacta.tif": json.dumps(tiles),
        "zarr.tif": json.dumps({"refs": {".zgroup": f"{{}}{url}"}}),
        "other.vrt": remote,
    }
    for name, text in texts.items():
        path = folder / name
        path.write_text(text)
        yield path
    link = folder / "link.tif"
    link.symlink_to(folder / "other.vrt")
    yield link
    arrays = folder / "arrays.nc"
    arrays.write_bytes(HDF5)
    yield arrays


def beside(row: Row, ground: Ground) -> None:
    """What lies beside an image, or is named in it, is not followed: as in tests/security."""
    theirs = ground.folder / "theirs"
    theirs.mkdir()
    half = np.full((1, SIDE // 2, SIDE // 2), SHOWN, np.uint8)
    secret = write_raster(theirs / "s.tif", half)
    seen = []
    for number, (kind, make) in enumerate(SIDE_FILES.items()):
        folder = ground.folder / str(number)
        folder.mkdir()
        path = write_raster(folder / "a.tif", np.full((1, SIDE, SIDE), OWN, np.uint8))
        make(path, secret)
        if kind not in SPECIAL:
            with suppress(RasterioError), rasterio.open(path) as raster:
                seen += [SHOWN in raster.read(1, out_shape=(SIDE // 2, SIDE // 2))]
        for overview in (None, 0):
            with row.trying(f"{kind}, overview {overview}"):
                _require_own(path, overview)
    require(
        sum(seen) > len(seen) / 2, "they show nothing where they are opened without care either"
    )


def _require_own(path: Path, overview: int | None) -> None:
    """Refused, or no pixel is one of another file, at whatever size it is read."""
    try:
        raster = open_raster(path, overview=overview)
    except GeosegError as error:
        require(str(error).endswith("."), f"it is no sentence: {error}")
        return
    with raster:
        for side in (SIDE, SIDE // 2, SIDE // 4):
            found = np.unique(raster.read(1, out_shape=(side, side)))
            require(SHOWN not in found, "it shows another file")


def disguised(row: Row, ground: Ground) -> None:
    """What stands for an image and is none is not followed."""
    with listening() as nobody:
        for path in disguises(ground.folder, nobody.url):
            with row.trying(path.name):
                _require_harmless(ground, write_item(path))
                require(nobody.asked == [], f"a server was asked for {nobody.asked}")
            nobody.forget()
        item = json.loads(write_noise(ground.folder / "a.tif").read_text())
        for number, href in enumerate(_places(ground.folder, nobody.url)):
            with row.trying(href):
                path = ground.folder / f"item{number}.json"
                path.write_text(json.dumps(item).replace('"a.tif"', json.dumps(href)))
                require(json.dumps(href) in path.read_text(), "the item does not name it")
                _require_harmless(ground, path)
                require(nobody.asked == [], f"a server was asked for {nobody.asked}")
        with row.trying("all of them in a folder"):
            ask = ("catalog", "scan", ground.folder, "--out", ground.folder / "c.parquet")
            done = geoseg_here(*ask)
            require(done.returncode in {0, 1}, done.stderr)
            require(nobody.asked == [], f"a server was asked for {nobody.asked}")
        # Else what is refused above would be harmless.
        with suppress(RasterioIOError), rasterio.open(ground.folder / "remote.tif") as raster:
            raster.read()
        require(nobody.asked, "nobody is asked where a file is opened without care either")


def _places(folder: Path, url: str) -> list[str]:
    return [
        f"{url}/a.tif",
        f"/vsicurl/{url}/a.tif",
        f"vrt://{folder}/remote.tif",
        f"GTIFF_DIR:1:/vsicurl/{url}/a.tif",
        f"/vsizip//vsicurl/{url}/a.zip/a.tif",
        f"WMS:{url}",
        "/vsistdin/",
        "file:///etc/passwd",
        "../" * 20 + "etc/passwd",
    ]


def _require_harmless(ground: Ground, item: Path) -> None:
    out = ground.folder / "maps" / item.stem
    ask = ("predict", "--model", ground.model, "--scene", item, "--out", out, *SMALL)
    done = geoseg_here(*ask)
    told = done.stdout + done.stderr
    require(done.returncode == 1, told)
    require_answered(told)
    require(SECRET not in told, "it shows a file of the machine")
    require(not (ground.folder / "touched").exists(), "it ran code")
    require(not out.exists() or not files_below(out), "it made maps")


def bombs(row: Row, ground: Ground) -> None:
    """Small files that are huge inside."""
    for name, profile in {
        "tiles": {"tiled": True, "blockxsize": 16384, "blockysize": 8192},
        "strip": {"blockysize": 40_000, "compress": "deflate"},
        "doubles": {"dtype": "float64", "tiled": True, "blockxsize": 4096, "blockysize": 4096},
        "bands": {"count": 64, "interleave": "pixel", "tiled": True, "blockxsize": 2048,
                  "blockysize": 2048},
    }.items():  # fmt: skip
        path = _sparse(ground.folder / f"{name}.tif", 40_000, **profile)
        with row.trying(name):
            ask = ("--scene", write_item(path), "--out", ground.folder / "maps", *SMALL)
            done = geoseg_here("predict", "--model", ground.model, *ask)
            # GDAL reads a strip by its lines, and there are none.
            why = "truncated or damaged" if name == "strip" else "over 64 MiB each"
            require_ended(done, 1, path.name, why)
    for name, content in (("png", _declared_png()), ("npy", _declared_npy())):
        with row.trying(f"an image of chips in {name}"):
            _require_sentence(content, name)
    _map_huge(row, ground)


def _sparse(path: Path, side: int, **profile: object) -> Path:
    given = {"count": 2, "dtype": "uint8", "nodata": 0, "sparse_ok": True, "bigtiff": "yes"}
    place = {"crs": CRS, "transform": from_origin(5e5, 3.1e6, 30, 30)}
    size = {"width": side, "height": side}
    with rasterio.open(path, "w", driver="GTiff", **size, **place, **(given | profile)):
        pass
    return path


def _declared_png() -> bytes:
    """A picture of 100,000 x 100,000 px, of which there is a line."""
    file = io.BytesIO()
    Image.new("L", (90, 1)).save(file, "PNG")
    whole = bytearray(file.getvalue())
    whole[16:24] = (100_000).to_bytes(4, "big") * 2
    return bytes(whole)


def _declared_npy() -> bytes:
    file = io.BytesIO()
    header = {"descr": "<f4", "fortran_order": False, "shape": (3, 10**6, 10**6)}
    np.lib.format.write_array_header_1_0(file, header)
    return file.getvalue() + bytes(100)


def _require_sentence(content: bytes, suffix: str) -> None:
    try:
        decode(content, suffix)
    except GeosegError as error:
        require(str(error).endswith("."), f"it is no sentence: {error}")
    else:
        require(False, "it was taken")


def _map_huge(row: Row, ground: Ground) -> None:
    """90 gigapixels in a file of some megabytes: planned, and mapped for a while."""
    tiles = {"tiled": True, "blockxsize": 1024, "blockysize": 1024}
    item = write_item(_sparse(ground.folder / "huge.tif", 300_000, **tiles))
    most = f"{MOST_BYTES / 1e6:.0f}MB"
    ask = [GEOSEG, "predict", "--model", ground.model, "--scene", item, "--max-memory", most]
    ask += ["--device", "cpu", "--out", ground.folder / "huge"]
    with row.trying("300,000 x 300,000 px planned"):
        code, words = _watched([*ask, "--dry-run"], ground.folder / "plan.txt", until=None)
        require(code == 0, f"exit code {code}: {words[-300:]}")
    with row.trying("300,000 x 300,000 px mapped"):
        code, words = _watched(ask, ground.folder / "map.txt", until=TILES_DONE)
        require(code is None, f"it ended by itself: {words[-300:]}")


def _watched(
    command: list[object], said: Path, *, until: re.Pattern[str] | None
) -> tuple[int | None, str]:
    """Exit code and stderr of a command; killed a while after it has said certain words."""
    with (
        said.open("w") as file,
        subprocess.Popen([*map(str, command)], stdout=subprocess.DEVNULL, stderr=file) as process,
    ):
        try:
            peak, since = 0, None
            while process.poll() is None:
                peak = max(peak, peak_bytes(process.pid))
                require(peak < MOST_BYTES, f"it held {peak / 1e6:,.0f} MB")
                if since is None and until is not None and until.search(said.read_text()):
                    since = time.perf_counter()
                if since is not None and time.perf_counter() - since > HUGE_S:
                    break
                time.sleep(0.05)
            return process.poll(), said.read_text()
        finally:
            process.kill()


def gaps() -> Iterator[tuple[str, NDArray[np.float32], float | None]]:
    """Images (C, H, W) with what is no measurement, and the nodata that their file tells of."""
    rng = np.random.default_rng(0)
    clean = rng.uniform(1, 254, (2, 70, 90)).astype(np.float32)
    for name, value, tagged in (
        ("NaN", np.nan, None),
        ("tagged NaN", np.nan, np.nan),
        ("infinite", np.inf, None),
        ("minus infinite", -np.inf, None),
        ("-9999", -9999.0, -9999.0),
        ("0", 0.0, 0.0),
        ("lowest", np.finfo(np.float32).min, np.finfo(np.float32).min),
    ):
        for place, where in {
            "a pixel": np.s_[:, 33, 44],
            "a pixel of one band": np.s_[1, 33, 44],
            "a row": np.s_[:, 12],
            "half of it": np.s_[:, :, :45],
            "all": np.s_[:],
        }.items():
            image = clean.copy()
            image[where] = value
            yield f"{name}, {place}", image, tagged


def no_measurements(row: Row, ground: Ground) -> None:
    """NaN, infinity and nodata: 255 there and nowhere else, whatever the size of a batch."""
    for number, (name, image, tagged) in enumerate(gaps()):
        folder = ground.folder / str(number)
        folder.mkdir()
        write_raster(folder / "a.tif", image, nodata=tagged)
        item = write_item(folder / "a.tif")
        given = np.isfinite(image).all(axis=0)
        if tagged is not None and np.isfinite(tagged):
            given &= (image != np.float32(tagged)).all(axis=0)
        with row.trying(name):
            found = [_mapped(ground, item, folder / str(batch), batch) for batch in (1, 8)]
            require((found[0] == found[1]).all(), "a batch of 8 gives other maps")
            require(np.isfinite(found[0]).all(), "a map is not finite")
            require(((found[0][0] != IGNORE) == given).all(), "255 is not where nothing is known")
    write_scenes(ground.folder)
    with rasterio.open(ground.folder / "landsat.tif") as raster:
        image = raster.read().astype(np.float32)
    image[:, 40, 30:60] = np.nan
    write_raster(ground.folder / "landsat.tif", image)
    with row.trying("a training on an image with NaN"):
        train_in(ground.folder, ground.folder / "network")
        tensors, _ = read_tensors(ground.folder / "network" / "model.safetensors")
        spoilt = [name for name, tensor in tensors.items() if not torch.isfinite(tensor).all()]
        require(not spoilt, f"{spoilt[:3]} are not finite")


def _mapped(ground: Ground, item: Path, out: Path, batch: int) -> NDArray[np.uint8]:
    """Classes and probabilities (1 + K, H, W)."""
    ask = ("predict", "--model", ground.model, "--scene", item, "--out", out, *SMALL)
    require_ended(geoseg_here(*ask, "--set", f"inference.batch={batch}"), 0)
    found = []
    for name in ("classes", "probability"):
        with rasterio.open(next(out.rglob(f"{name}.tif"))) as raster:
            found.append(raster.read())
    return np.concatenate(found)


def nowhere(row: Row, ground: Ground) -> None:
    """Images that lie nowhere are not mapped, and of those in degrees no areas are told."""
    kinds = {"nothing": None, "WGS 84": "EPSG:4326", "NAD27": "EPSG:4267", "ETRS89": "EPSG:4258"}
    told = ("--sensor", "landsat-7", "--date", "2000-10-30", "--bands", "red,nir08")
    for kind, crs in kinds.items():
        place = {"crs": crs, "pixel": 0.0003, "origin": (86.9, 28.0)} if crs else {"crs": None}
        for name in ("item", "image"):
            folder = ground.folder / f"{kind} {name}"
            folder.mkdir()
            path = write_raster(folder / "a.tif", noise(), **place)
            given = (write_item(path),) if name == "item" else (path, *told)
            ask = ("predict", "--model", ground.model, "--scene", *given, *SMALL)
            with row.trying(f"in the reference system {kind}, {name}"):
                done = geoseg_here(*ask, "--out", folder / "maps")
                if crs is None:
                    require_ended(done, 2, "has no coordinate reference system")
                    require(not (folder / "maps").exists(), "it made maps")
                    continue
                require_ended(done, 0, "it is in degrees")
                outlines = ("vectorize", folder / "maps" / "a", "--out", folder / "a.gpkg")
                require_ended(geoseg_here(*outlines), 2, "is in degrees")
                require(not (folder / "a.gpkg").exists(), "it drew outlines")


RASTERS = (
    Hazard("images with NaN, infinity or nodata", no_measurements),
    Hazard("huge dimensions and blocks", bombs),
    Hazard("images cut short", truncated),
    Hazard("virtual images in disguise", disguised),
    Hazard("files beside images that lead elsewhere", beside),
    Hazard("images without a place, or in degrees", nowhere),
)
