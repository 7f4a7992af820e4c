"""Presence without a file a chip: what embedding scenes and scoring their rows takes.

    python benchmarks/presence_rows.py [--json] [--full]

Scenes are simulated and the classifier (resnet18, 64 px, four bands) is not trained: neither
changes the time that a chip or a row takes. Every scoring pass is a process of its own, whose peak
of memory is asked of the system; --full scores ten million rows.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import rasterio
import torch
from peak_memory import peak_bytes
from rasterio.transform import from_origin
from scipy.ndimage import gaussian_filter

from geoseg.models import FixedInput
from geoseg.models.classifier import (
    ClassifierSpec,
    build_classifier,
    load_classifier,
    save_classifier,
)
from geoseg.presence.rows.embed import EmbedJob, embed_scenes
from geoseg.presence.rows.embedder import weights_sha256
from geoseg.presence.rows.grid import PlaceGrid
from geoseg.presence.rows.head import LinearHead, save_head
from geoseg.presence.rows.quantise import Quantiser
from geoseg.presence.rows.score import ScoreJob, score_rows
from geoseg.presence.rows.store import (
    RowsHeader,
    SceneRows,
    rows_folder,
    write_header,
    write_rows,
)
from geoseg.scale import Engine
from geoseg.scenes import Asset, Scene

BANDS = ("blue", "green", "red", "nir")
SIDE_PX, PIXEL_M, WIDTH = 64, 10.0, 128
SCENE_SIDE = 316  # places to a side of a simulated scene: 100 km at 320 m
LON, LAT = -135.0, 68.0


def write_model(path: Path) -> None:
    """A classifier as it would be trained, but for its weights."""
    torch.manual_seed(0)
    spec = ClassifierSpec(
        encoder="resnet18",
        input=FixedInput(bands=BANDS, mean=(3300.0,) * 4, std=(500.0,) * 4),
        target="thaw_slump",
        size_px=SIDE_PX,
        width=WIDTH,
    )
    save_classifier(path, build_classifier(spec).eval(), {})


def make_scene(path: Path, side: int, seed: int = 0) -> Scene:
    """A textured scene of 10 m as an archive holds it: tiled, deflated, 16 bits."""
    rng = np.random.default_rng(seed)
    with rasterio.open(
        path,
        "w",
        driver="GTiff",
        height=side,
        width=side,
        count=len(BANDS),
        dtype="uint16",
        crs="EPSG:32608",
        transform=from_origin(500_000, 7_600_000, PIXEL_M, PIXEL_M),
        nodata=0,
        tiled=True,
        blockxsize=512,
        blockysize=512,
        compress="deflate",
    ) as raster:
        smooth = gaussian_filter(rng.standard_normal((side, side), dtype=np.float32), 8) * 2e4
        for band in range(1, len(BANDS) + 1):
            values = 3000 + 300 * band + smooth + rng.normal(0, 40, (side, side))
            raster.write(np.clip(values, 1, 65_535).astype(np.uint16), band)
    return _scene(path.stem, 2020, {n: Asset(path=path, index=i) for i, n in enumerate(BANDS, 1)})


def make_rows(folder: Path, model: Path, rows: int, dates: int) -> float:
    """Rows as embedding writes them, of random numbers; bytes of disk for each.

    Args:
        folder: of the rows.
        model: that they are said to be made with.
        rows: about how many.
        dates: images of each place.
    """
    embedder, head = weights_sha256(load_classifier(model).classifier)
    rng = np.random.default_rng(0)
    header = RowsHeader(
        model_sha256="0" * 64,
        embedder_sha256=embedder,
        head_sha256=head,
        target="thaw_slump",
        spacing_m=320.0,
        chip_m=640.0,
        least_valid=0.5,
        quantiser=Quantiser.fit(rng.normal(size=(500, WIDTH)).astype(np.float32)),
    )
    write_header(folder, header)
    written = 0
    for number in range(-(-rows // (dates * SCENE_SIDE**2))):
        cells = _cells(header.grid, number, min(SCENE_SIDE**2, -(-rows // dates) - written))
        written += len(cells)
        for date in range(dates):
            scene = _scene(f"{number}_{date}", 2000 + date, {"red": Asset(path=folder)})
            path = rows_folder(folder) / f"{scene.id}-0.parquet"
            write_rows(path, header.grid, scene, _random_rows(cells, rng))
    size = sum(path.stat().st_size for path in rows_folder(folder).glob("*.parquet"))
    return size / (written * dates)


def save_random_head(path: Path, model: Path) -> None:
    """A linear head that is not that of the model."""
    embedder, _ = weights_sha256(load_classifier(model).classifier)
    weight = np.random.default_rng(0).normal(size=WIDTH).astype(np.float32)
    save_head(path, LinearHead(weight=weight, bias=0.0, embedder_sha256=embedder))


def score_in_a_process(rows: Path, model: Path, out: Path, head: Path | None = None) -> dict:
    """Figures of one scoring pass: places, images, wall_s, cpu_s, peak_mb."""
    shutil.rmtree(out, ignore_errors=True)
    arguments = [str(rows), str(model), str(out), *([str(head)] if head is not None else [])]
    done = subprocess.run(
        [sys.executable, __file__, "--child", *arguments],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    return json.loads(done.stdout)


def measure_scoring(folder: Path, model: Path, rows: int, dates: int, rounds: int = 3) -> dict:
    """Rows a second (medians) with the head of the model and with a new one, and bytes a row."""
    place = folder / f"rows_{rows}_{dates}"
    bytes_per_row = make_rows(place, model, rows, dates)
    save_random_head(folder / "head.safetensors", model)
    passes: dict[str, list[dict]] = {"own": [], "new": []}
    for _ in range(rounds):
        passes["own"].append(score_in_a_process(place, model, folder / "own"))
        head = folder / "head.safetensors"
        passes["new"].append(score_in_a_process(place, model, folder / "new", head))
    figures: dict = {"rows": passes["own"][0]["images"], "bytes_per_row": round(bytes_per_row, 1)}
    results = sum(path.stat().st_size for path in (folder / "own").glob("shard=*/*"))
    figures["result_bytes_per_place"] = round(results / passes["own"][0]["places"], 1)
    for name, found in passes.items():
        for kind in ("wall_s", "cpu_s"):
            taken = statistics.median(one[kind] for one in found)
            figures[f"{name}_head_rows_per_{kind[:-2]}_s"] = round(figures["rows"] / taken)
        figures[f"{name}_head_peak_mb"] = round(statistics.median(x["peak_mb"] for x in found), 1)
    return figures


def measure_raw_head(rows: int = 2_000_000) -> float:
    """Rows a second of the bare product in memory, for comparison: int8 to float32, times w."""
    stored = np.random.default_rng(0).integers(-127, 128, (rows, WIDTH), dtype=np.int8)
    head = LinearHead(weight=np.ones(WIDTH, dtype=np.float32), bias=0.0, embedder_sha256="")
    quantiser = Quantiser(
        scale=np.ones(WIDTH, dtype=np.float32), offset=np.zeros(WIDTH, dtype=np.float32)
    )
    taken = []
    for _ in range(3):
        begun = time.perf_counter()
        head.logits(stored, quantiser)
        taken.append(time.perf_counter() - begun)
    return round(rows / statistics.median(taken))


def measure_embedding(folder: Path, model: Path, side: int, rounds: int = 3) -> dict:
    """Chips a second of one thread (medians), the share of each step, and bytes of disk a row."""
    scene = make_scene(folder / "scene.tif", side)
    torch.set_num_threads(1)
    found: dict[str, list[float]] = {}
    rows = 0
    for number in range(rounds):
        cpu = time.process_time()
        job = EmbedJob(model=model, scenes=(scene,), out=folder / f"{number}", device="cpu")
        embedded = embed_scenes(job, engine=Engine())
        cpu = time.process_time() - cpu
        rows, total = embedded.rows, sum(embedded.seconds.values())
        shares = {f"share_of_{kind}": t / total for kind, t in embedded.seconds.items()}
        read = embedded.seconds["read"]
        rates = {
            "chips_per_wall_s": rows / total,
            # The sample that embeddings are scaled by is in it, some hundred chips.
            "chips_per_cpu_s": rows / cpu,
            "read_us_per_chip": 1e6 * read / rows,
            "read_million_px_per_s": side**2 / read / 1e6,
        }
        for name, value in {**rates, **shares}.items():
            found.setdefault(name, []).append(value)
    size = next(rows_folder(folder / "0").glob("*.parquet")).stat().st_size
    medians = {name: float(f"{statistics.median(v):.4g}") for name, v in found.items()}
    return {"chips": rows, **medians, "bytes_per_row": round(size / rows, 1)}


def measure_all(folder: Path, *, full: bool) -> Iterator[tuple[str, dict]]:
    """The parts of this file, each with its figures."""
    model = folder / "model.safetensors"
    write_model(model)
    yield "embed", measure_embedding(folder, model, 4096 if full else 2048)
    few = measure_scoring(folder, model, 10_000, 2)
    yield "score_1e4_rows_2_dates", few
    many = measure_scoring(folder, model, 1_000_000, 2)
    yield "score_1e6_rows_2_dates", many
    yield "score_1e6_rows_1_date", measure_scoring(folder, model, 1_000_000, 1)
    if full:
        yield "score_1e7_rows_2_dates", measure_scoring(folder, model, 10_000_000, 2, 1)
    growth = round(many["own_head_peak_mb"] / few["own_head_peak_mb"], 3)
    yield "memory", {"of_1e6_to_1e4_rows": growth}
    yield "bare_product", {"rows_per_s": measure_raw_head()}


def main() -> None:
    """Measure, print, and with --json one object."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--full", action="store_true", help="ten million rows, a larger scene")
    options = parser.parse_args()
    figures: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as folder:
        for part, found in measure_all(Path(folder), full=options.full):
            print(
                part, *(f"  {key:28} {value}" for key, value in found.items()), sep="\n", flush=True
            )
            figures |= {f"{part}_{key}": value for key, value in found.items()}
    if options.json:
        machine = f"{os.cpu_count()} cores {platform.machine()}, torch {torch.__version__}"
        print(json.dumps({"benchmark": "presence_rows", "machine": machine, "figures": figures}))


def _scene(name: str, year: int, bands: dict[str, Asset]) -> Scene:
    start = datetime(year, 8, 1, tzinfo=UTC)
    return Scene(
        id=name,
        sensor_id="sentinel-2",
        start=start,
        end=start + timedelta(days=1),
        bands=bands,
    )


def _cells(grid: PlaceGrid, number: int, count: int) -> np.ndarray:
    """The first cells of the square that a scene covers; scenes lie beside each other."""
    row = int(grid.cells_at(np.array([LON]), np.array([LAT]))[0]) >> 32
    columns = np.arange(SCENE_SIDE) + 5_000 + number * SCENE_SIDE
    rows = row + np.arange(SCENE_SIDE)
    cells = (rows.astype(np.uint64)[:, None] << np.uint64(32)) | columns.astype(np.uint64)
    return cells.ravel()[:count]


def _random_rows(cells: np.ndarray, rng: np.random.Generator) -> SceneRows:
    return SceneRows(
        cell=cells,
        valid=rng.integers(50, 101, len(cells)).astype(np.uint8),
        logit=rng.normal(size=len(cells)).astype(np.float32),
        stored=rng.normal(0, 25, (len(cells), WIDTH)).clip(-127, 127).astype(np.int8),
    )


def _child(arguments: list[str]) -> None:
    """One scoring pass, and its figures as JSON."""
    rows, model, out, *head = map(Path, arguments)
    job = ScoreJob(rows=rows, model=model, out=out, head=head[0] if head else None)
    wall, cpu = time.perf_counter(), time.process_time()
    scored = score_rows(job, engine=Engine())
    figures = {
        "places": scored.places,
        "images": scored.images,
        "wall_s": time.perf_counter() - wall,
        "cpu_s": time.process_time() - cpu,
        "peak_mb": peak_bytes() / 1e6,
    }
    print(json.dumps(figures))


if __name__ == "__main__":
    if sys.argv[1:2] == ["--child"]:
        _child(sys.argv[2:])
    else:
        main()
