"""All that geoseg reads from outside, each with something good to begin from.

A parser gets bytes and a folder to put them in. It returns, or raises a GeosegError.
"""

import io
import json
import shutil
import tarfile
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

import geopandas as gpd
import numpy as np
import pandas as pd
import pyogrio
import torch
from conftest import write_raster
from PIL import Image
from presence import small_pack
from safetensors.torch import save
from scenes import fake_products as fake
from scenes import test_product_calibration as calibrated
from shapely.geometry import box

from geoseg.active.project import create_project, open_project
from geoseg.commands.engine import engine_of
from geoseg.config import load_recipe
from geoseg.dates import parse_interval
from geoseg.files import read_checksums
from geoseg.inventory.storage.files import read_inventory
from geoseg.inventory.surveys.sources import read_drawn
from geoseg.labels import GLACIER, ClassScheme, read_outlines
from geoseg.landcover.ground import open_cube
from geoseg.metrics.histogram import LogitHistogram
from geoseg.models import AnyInput, FixedInput, ModelSpec, load_checkpoint
from geoseg.models.classifier import ClassifierSpec, load_classifier
from geoseg.presence.packs.labels import read_labels
from geoseg.presence.packs.pack import read_pack
from geoseg.presence.packs.pixels import decode, decode_mask, npy_bytes
from geoseg.presence.packs.points import read_points as read_places
from geoseg.presence.packs.read import places_of_shard, read_stored
from geoseg.scale.manifest import RECORD, Manifest
from geoseg.scale.state import read_state
from geoseg.scenes import read_catalog, read_scene
from geoseg.scenes.area import read_area
from geoseg.scenes.catalog import scan_scene
from geoseg.scenes.ground_control import read_points, rough_grid
from geoseg.scenes.prepare.control import register
from geoseg.scenes.prepare.dimap import dimap_radiometry
from geoseg.scenes.prepare.landsat import landsat_radiometry
from geoseg.scenes.prepare.sentinel2 import sentinel2_radiometry
from geoseg.scenes.products import read_product, recognise
from geoseg.scenes.products.film import entity_of, mission_interval
from geoseg.scenes.products.geotiff import dates_in
from geoseg.scenes.raster import open_raster, reading
from geoseg.scenes.stac_import import import_items, items_of_file
from geoseg.sensors import find_sensor
from geoseg.training.launch import Fleet
from geoseg.training.slurm import job_script

SCHEME = ClassScheme.of({"ice": "#ffffff"})
SQUARE = [[7.0, 46.0], [7.1, 46.0], [7.1, 46.1], [7.0, 46.0]]
IMAGE_SHAPE = (30, 50)
IMAGE = "GRANULE/a/IMG_DATA/T45RVL_20200909T065031_B04_10m"


class Parser(NamedTuple):
    read: Callable[[bytes, Path], object]
    seeds: Callable[[], list[bytes]]


def text_of(content):
    return content.decode("utf-8", errors="replace")


def put(content, path):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def as_bytes(value):
    return json.dumps(value).encode()


def with_groups(content, _):
    landsat_radiometry(text_of(content), "a_MTL.txt")


def product_of(name):
    """A reader of a product by the file that describes it, beside bands that are there."""

    def read(content, folder):
        path = put(content, folder / name)
        for image in (f"{fake.LANDSAT}_B4.TIF", f"IMG_{fake.PHR}_R1C1.TIF", f"{IMAGE}.tif"):
            if not (path.parent / image).exists():
                fake.ones(path.parent / image, count=4 if "PHR" in image else 1)
        for scene in read_product(recognise(path)):
            scan_scene(scene)

    return read


def mtl_seeds(*, text):
    groups = fake.mtl(fake.LANDSAT, bands={"FILE_NAME_BAND_4": "B4", "FILE_NAME_BAND_8": "B8"})
    whole = as_bytes({"LANDSAT_METADATA_FILE": groups})
    return [fake.as_text(groups).encode(), calibrated.MTL.encode()] if text else [whole]


def sentinel2_seeds():
    images = f"<IMAGE_FILE>{IMAGE}</IMAGE_FILE>"
    stated = calibrated.S2.format(baseline="05.09", offsets=calibrated.OFFSETS)
    return [stated.encode(), fake.MTD.format(safe=fake.SAFE, images=images).encode()]


def dimap_seeds():
    files = f'<Data_File><DATA_FILE_PATH href="IMG_{fake.PHR}_R1C1.TIF"/></Data_File>'
    shown = fake.DIM.format(name=fake.PHR, files=files, order=fake.DISPLAY)
    indexed = fake.DIM.format(
        name=fake.PHR,
        files=files,
        order="<Raster_Index><BAND_ID>B2</BAND_ID><BAND_INDEX>1</BAND_INDEX></Raster_Index>",
    )
    texts = (shown, indexed, fake.SPOT5, calibrated.DIMAP_1, calibrated.DIMAP_2)
    return [text.encode() for text in texts]


def names(content, folder):
    name = text_of(content).replace("/", "_").replace("\0", "_")
    dates_in(name)
    entity = entity_of(name)
    if entity is not None:
        mission_interval(entity.mission)
    recognise(folder / (name or "a"))


def control_points(content, folder):
    control = read_points(put(content, folder / "a.points"))
    grid = rough_grid(control, IMAGE_SHAPE)
    register(control, grid.crs.proj)


POINTS = b"""#CRS: EPSG:32645
mapX,mapY,sourceX,sourceY,enable
500000,3100000,0,0,1
501500,3100000,50,0,1
500000,3099100,0,-30,1
501500,3099100,50,-30,1
500900,3099500,30,-18,0
500900,3099400,30,-20,1
"""


def item():
    return {
        "type": "Feature",
        "stac_version": "1.1.0",
        "stac_extensions": [],
        "id": "a",
        "geometry": {"type": "Polygon", "coordinates": [SQUARE]},
        "bbox": [7.0, 46.0, 7.1, 46.1],
        "properties": {
            "datetime": "2019-08-14T10:00:00Z",
            "geoseg:sensor": "sentinel-2",
            "eo:cloud_cover": 3.5,
            "view:sun_azimuth": 150.0,
            "view:sun_elevation": 40.0,
        },
        "links": [],
        "assets": {
            "red": {
                "href": "./a.tif",
                "roles": ["data"],
                "bands": [{"name": "B4", "eo:common_name": "red"}],
                "geoseg:band_index": 1,
                "nodata": 0,
                "file:checksum": "1220" + "0" * 64,
            },
            "mask": {"href": "a.tif", "roles": ["mask"]},
            "dem": {"href": "a.tif", "roles": ["dem"]},
        },
    }


def stac_item(content, folder):
    if not (folder / "a.tif").exists():
        fake.ones(folder / "a.tif")
    scan_scene(read_scene(put(content, folder / "a.json")))


def stac_source(content, folder):
    for _ in import_items(
        items_of_file(put(content, folder / "items.json")), folder / "catalog.parquet"
    ):
        pass


def catalogue_of_items(content, folder):
    """A catalogue whose rows say what is given."""
    stac_source(content, folder)
    read_catalog(folder / "catalog.parquet")


def feature_collection():
    feature = {
        "type": "Feature",
        "properties": {"name": "ice", "day": "2000-10-30", "id": 7, "present": True},
        "geometry": {"type": "Polygon", "coordinates": [SQUARE]},
    }
    return as_bytes({"type": "FeatureCollection", "features": [feature, feature]})


def kml():
    ring = " ".join(f"{x},{y},0" for x, y in SQUARE)
    return (
        '<kml xmlns="http://www.opengis.net/kml/2.2"><Document><Placemark><name>ice</name>'
        f"<Polygon><outerBoundaryIs><LinearRing><coordinates>{ring}</coordinates></LinearRing>"
        "</outerBoundaryIs></Polygon></Placemark></Document></kml>"
    ).encode()


def written(write):
    """The bytes of a file that something writes into a folder."""
    with TemporaryDirectory() as folder:
        path = Path(folder) / "a"
        return write(path) or path.read_bytes()


def geopackage():
    table = gpd.GeoDataFrame(
        {"name": ["ice"], "day": ["2000-10-30"]}, geometry=[box(7, 46, 7.1, 46.1)], crs="EPSG:4326"
    )

    def write(path):
        pyogrio.write_dataframe(table, path.with_suffix(".gpkg"), driver="GPKG")
        return path.with_suffix(".gpkg").read_bytes()

    return written(write)


def labels_of(name, class_of="name"):
    def read(content, folder):
        read_outlines(put(content, folder / name), SCHEME, layer=None, class_of=class_of)

    return read


def dated_labels(content, folder):
    path = put(content, folder / "a.geojson")
    read_outlines(path, SCHEME, layer=None, class_of="ice", date_of="day")


def slurm(content, folder):
    text = text_of(content)
    job = engine_of("slurm", 2, None, text).slurm
    fleet = Fleet(launcher="slurm", job=job)
    script = job_script(["geoseg"], None, fleet, gpus=False, log=folder / "log")
    directives = [line for line in script.splitlines() if line.startswith("#SBATCH")]
    assert all(line.startswith("#SBATCH --") for line in directives), script


SLURM = (
    b"queue=gpu,memory=16GB,walltime=04:00:00",
    as_bytes(
        {
            "queue": "gpu",
            "account": "a",
            "memory": "16GB",
            "walltime": "1-04:00:00",
            "threads": 2,
            "job_extra_directives": ["--exclusive", "--qos=long"],
            "job_script_prologue": ["module load a"],
            "job_directives_skip": ["--mem"],
        }
    ),
)


def header_of(spec):
    return {"spec": spec, "record": {"recipe": "a"}}


def model_spec():
    return asdict(
        ModelSpec(
            architecture="unet",
            encoder="tu-test_resnet",
            input=FixedInput(bands=("red", "nir08"), mean=(100.0, 80.0), std=(50.0, 40.0)),
            scheme=GLACIER,
            prior=(0.5, 0.5),
        )
    )


def classifier_header():
    band = find_sensor("sentinel-2").bands[0]
    spec = ClassifierSpec(
        encoder="test_resnet",
        input=AnyInput(seen=(band,), gsd_m=(10.0, 30.0)),
        target="thaw_slump",
        size_px=16,
        width=16,
    )
    return {"classifier": asdict(spec), "record": {}}


def of_header(load):
    """Loads a whole file of tensors whose header says what is given."""

    def read(content, folder):
        whole = save({"a": torch.zeros(1)}, metadata={"geoseg": text_of(content)})
        load(put(whole, folder / "model.safetensors"))

    return read


def of_file(load, name):
    def read(content, folder):
        load(put(content, folder / name))

    return read


def tensors():
    header = json.dumps(header_of(model_spec()))
    return save({"a": torch.zeros(3)}, metadata={"geoseg": header})


def record_of_work(content, folder):
    put(content, folder / "work" / RECORD)
    try:
        read_state(folder / "work")
        with Manifest(folder / "work") as manifest:
            dict(manifest.results())
    finally:
        shutil.rmtree(folder / "work")


def record():
    def write(path):
        with Manifest(path):
            pass
        return (path / RECORD).read_bytes()

    return written(write)


def project(content, folder):
    path = folder / "project"
    put(content, path / "project.sqlite")
    try:
        with open_project(path) as opened:
            opened.answers()
    finally:
        shutil.rmtree(path)


def empty_project():
    def write(path):
        with create_project(path, classes=("a", "b"), pool=""):
            pass
        return (path / "project.sqlite").read_bytes()

    return written(write)


def tar_of(about, pixels):
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for name, content in (("a.0.png", pixels), ("a.json", about)):
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return file.getvalue()


def place():
    kind = {"sensor": "sentinel-2", "bands": ["red", "green", "blue"], "gsd_m": 10.0}
    image = {"member": "0.png", "time": "2020-07-01T00:00:00+00:00", **kind}
    return as_bytes({"id": "a", "lon": 7.0, "lat": 46.0, "present": True, "images": [image]})


def shard(suffix):
    def read(content, folder):
        path = put(content, folder / f"a{suffix}")
        list(places_of_shard(path))
        list(read_stored(path, None))

    return read


def place_in_tar(content, folder):
    shard(".tar")(tar_of(content, png()), folder)


def png():
    return small_pack.image(1).pixels


def npy():
    return npy_bytes(np.ones((3, 4, 5), np.float32))


def masks(content, _):
    decode_mask(content, (4, 4))


def mask():
    file = io.BytesIO()
    Image.fromarray(np.eye(4, dtype=np.uint8)).save(file, "PNG")
    return file.getvalue()


def pack(content, folder):
    put(content, folder / "pack" / "pack.json")
    read_pack(folder / "pack")


def pack_json():
    def write(path):
        small_pack.make_small_pack(path, small_pack.varied_shards(1, 1))
        return (path / "pack" / "pack.json").read_bytes()

    return written(write)


def cube(content, folder):
    put(b'{"zarr_format": 2}', folder / "cube.zarr" / ".zgroup")
    put(b"", folder / "cube.zarr" / "x" / "0")
    put(content, folder / "cube.zarr" / "x" / ".zarray")
    put(b'{"_ARRAY_DIMENSIONS": ["x"]}', folder / "cube.zarr" / "x" / ".zattrs")
    open_cube(folder / "cube.zarr")


def array():
    return {
        "zarr_format": 2,
        "shape": [3],
        "chunks": [3],
        "dtype": "<f4",
        "fill_value": "NaN",
        "order": "C",
        "filters": None,
        "compressor": {"id": "zstd", "level": 0},
    }


def histogram():
    def write(path):
        held = LogitHistogram()
        held.add(np.linspace(-3, 3, 20))
        held.save(path.with_suffix(".npz"))
        return path.with_suffix(".npz").read_bytes()

    return written(write)


def raster(content, folder):
    path = put(content, folder / "raster.tif")
    with open_raster(path) as opened, reading(path):
        if opened.width * opened.height * opened.count < 10**6:
            opened.read()


def small_raster():
    def write(path):
        write_raster(path.with_suffix(".tif"), np.ones((1, 5, 7), np.uint16))
        return path.with_suffix(".tif").read_bytes()

    return written(write)


def catalogue():
    def write(path):
        source = put(as_bytes(item()), path.with_name("items.json"))
        list(import_items(items_of_file(source), path))

    return written(write)


def table_of(kind):
    frame = pd.DataFrame({"chip_id": ["a", "b"], "present": [True, False], "lon": 7.0, "lat": 46.0})
    file = io.BytesIO()
    frame.to_parquet(file) if kind == "parquet" else frame.to_csv(file, index=False)
    return file.getvalue()


def sums(content, folder):
    put(content, folder / "SHA256SUMS")
    read_checksums(folder / "a.tif")


def recipe(content, folder):
    load_recipe(None, overlay=put(content, folder / "recipe.yaml"))


def one(make):
    return lambda: [make()]


PARSERS = {
    "recipe": Parser(recipe, lambda: [b"seed: 1\nmodel: {architecture: unet}\nscene: {path: a}\n"]),
    "change": Parser(
        lambda content, _: load_recipe(None, changes=[text_of(content)]),
        lambda: [b"training.steps=100", b"model={architecture: unet, encoder: resnet18}"],
    ),
    "mtl": Parser(with_groups, lambda: mtl_seeds(text=True) + mtl_seeds(text=False)),
    "landsat": Parser(product_of(f"{fake.LANDSAT}_MTL.json"), lambda: mtl_seeds(text=False)),
    "landsat-text": Parser(product_of(f"{fake.LANDSAT}_MTL.txt"), lambda: mtl_seeds(text=True)),
    "sentinel-2": Parser(product_of("MTD_MSIL2A.xml"), sentinel2_seeds),
    "sentinel-2-radiometry": Parser(
        lambda content, _: sentinel2_radiometry(text_of(content), "MTD"), sentinel2_seeds
    ),
    "dimap": Parser(product_of(f"DIM_{fake.PHR}.XML"), dimap_seeds),
    "dimap-radiometry": Parser(
        lambda content, _: dimap_radiometry(text_of(content), "DIM"), dimap_seeds
    ),
    "name": Parser(
        names,
        lambda: [
            b"DS1112-1023DA012_2000-01-02.tif",
            b"D3C1213-200346A003.tif",
            b"DZB1216-500280L002001.tif",
            b"ortho_2019226_B04.tif",
            f"{fake.LANDSAT}_MTL.txt".encode(),
        ],
    ),
    "interval": Parser(
        lambda content, _: parse_interval(text_of(content)), lambda: [b"1971-07/1973-09-12"]
    ),
    "control-points": Parser(control_points, lambda: [POINTS]),
    "stac-item": Parser(stac_item, lambda: [as_bytes(item())]),
    "stac-source": Parser(
        catalogue_of_items,
        lambda: [
            as_bytes(item()),
            as_bytes({"type": "FeatureCollection", "features": [item()]}),
            as_bytes({"type": "Catalog", "links": [{"rel": "item", "href": "./items.json"}]}),
        ],
    ),
    "catalogue": Parser(of_file(read_catalog, "catalog.parquet"), one(catalogue)),
    "labels-geojson": Parser(labels_of("a.geojson"), one(feature_collection)),
    "labels-kml": Parser(labels_of("a.kml", "ice"), one(kml)),
    "labels-gpkg": Parser(labels_of("a.gpkg"), one(geopackage)),
    "labels-dated": Parser(dated_labels, one(feature_collection)),
    "drawn": Parser(of_file(read_drawn, "a.geojson"), one(feature_collection)),
    "area": Parser(of_file(read_area, "a.geojson"), one(feature_collection)),
    "inventory": Parser(of_file(read_inventory, "a.gpkg"), one(geopackage)),
    "places-geojson": Parser(of_file(read_places, "a.geojson"), one(feature_collection)),
    "places-csv": Parser(of_file(read_places, "a.csv"), lambda: [table_of("csv")]),
    "places-parquet": Parser(of_file(read_places, "a.parquet"), lambda: [table_of("parquet")]),
    "chip-labels-csv": Parser(of_file(read_labels, "a.csv"), lambda: [table_of("csv")]),
    "chip-labels-parquet": Parser(of_file(read_labels, "a.parquet"), lambda: [table_of("parquet")]),
    "slurm": Parser(slurm, lambda: list(SLURM)),
    "checkpoint": Parser(of_file(load_checkpoint, "model.safetensors"), one(tensors)),
    "checkpoint-header": Parser(
        of_header(load_checkpoint), lambda: [as_bytes(header_of(model_spec()))]
    ),
    "classifier-header": Parser(
        of_header(load_classifier), lambda: [as_bytes(classifier_header())]
    ),
    "manifest": Parser(record_of_work, one(record)),
    "project": Parser(project, one(empty_project)),
    "shard-tar": Parser(shard(".tar"), lambda: [tar_of(place(), png())]),
    "shard-parquet": Parser(shard(".parquet"), lambda: [table_of("parquet")]),
    "place": Parser(place_in_tar, one(place)),
    "pack": Parser(pack, one(pack_json)),
    "png": Parser(lambda content, _: decode(content, "png"), one(png)),
    "npy": Parser(lambda content, _: decode(content, "npy"), one(npy)),
    "mask": Parser(masks, one(mask)),
    "cube": Parser(cube, lambda: [as_bytes(array())]),
    "histogram": Parser(of_file(LogitHistogram.load, "h.npz"), one(histogram)),
    "raster": Parser(raster, one(small_raster)),
    "checksums": Parser(sums, lambda: [b"0" * 64 + b"  a.tif\n"]),
}
