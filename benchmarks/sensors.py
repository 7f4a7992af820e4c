"""One network for several sensors: film it never saw, real thaw slumps, and what the stem costs.

    python benchmarks/sensors.py [--json] [--full]

Simulated landscape: one network is trained on the Landsat TM and Sentinel-2 scenes of the western
5/8, once with and once without film made of these scenes, and scored on the eastern 3/8, which no
training saw: on Sentinel-2 of 2025, on Hexagon-like film of the same day, rendered by the
simulation and not by what the training makes film with, and on the film of 1975. The figures are
the IoU of glaciers, clean or under debris, on the first two, so that they differ in the sensor
alone; the table has every class. The network then maps scenes of 1, 3, 4, 10 and 13 bands.

Thaw slumps (rts_chips: 756 chips of very high resolution by Yang and others 2023, official train
list, five folds inside it): a plain loop, which is a Unet resnet18 of
segmentation_models_pytorch, binary cross-entropy and Adam at 1e-3; geoseg with film made of the
chips, and geoseg without. All take the same number of steps of the same size. They are scored on
the held-out chips in colour, and on the same chips turned to panchromatic film. The data are read
from GEOSEG_DATA_MIRROR/rts_chips and left out with a word where they are not there.

Stem: seconds of a training step and of mapping a tile, over those of the same network with a plain
first convolution, in turn.

By default one of the five folds is run; --full runs all, with more steps.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import platform
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import rasterio
import torch
from PIL import Image
from torch.utils.data import Dataset

from geoseg.chips import Batch, Chip, HeldOut, film_some, split_scene
from geoseg.config import Recipe
from geoseg.data import LabelledScene, find_sources
from geoseg.data.simulate import Sun, make_landscape, surface
from geoseg.data.simulate import film as simulated_film
from geoseg.evaluation import Scores, score_map
from geoseg.grids import raster_grid
from geoseg.inference import Prediction, predict_scene
from geoseg.labels import GLACIER_SURFACE, IGNORE, ClassScheme
from geoseg.models import AnyInput, ModelSpec, Segmenter, build_segmenter, load_checkpoint
from geoseg.models.stem import AnyBands, FixedBands
from geoseg.scenes import Asset, open_raster, open_scene
from geoseg.sensors import find_sensor
from geoseg.training import TrainingChips, gather, new_segmenter, train
from geoseg.views import View, band_table

import segmentation_models_pytorch as smp  # isort: skip

CPU = torch.device("cpu")
CAMERA = "hexagon-kh9-mapping"
SLUMP = ClassScheme.of({"thaw_slump": "#d2572b"})
RGB = tuple(find_sensor("sentinel-2").band(name) for name in ("red", "green", "blue"))
BATCH = 8  # of chips of 128 px
SLUMP_CAMERA = "corona-kh4b"  # of about the ground resolution of these chips
SLUMP_BATCH, SLUMP_PX, SLUMP_GSD_M = 32, 64, 4.0  # as many pixels: chips at half of their size


# ---- simulated landscape


def series_recipe(*, film: bool, steps: int) -> Recipe:
    """The recipe of both networks, which differ in the film alone."""
    return Recipe(
        data="simulated",
        chips={"gsd_m": [10, 15], "band_dropout": 0.1},
        film={"share": 0.5 if film else 0.0},
        model={"stem": "any"},
        training={
            "steps": steps,
            "batch": BATCH,
            "learning_rate": 0.002,
            "validate_every": steps,
            "jitter": 0.05,
        },
        inference={"gsd_m": 10, "prevalence_reach_m": 0},
    )


def with_film_of_today(labelled: tuple[LabelledScene, ...], work: Path) -> list[LabelledScene]:
    """The scenes that are scored: Sentinel-2 of 2025, film of the same ground and day, of 1975."""
    newest = labelled[-1]
    path = work / "film_2025.tif"
    landscape = make_landscape(seed=0)
    ground = surface(landscape, newest.scene.start.year)
    sun, rng = Sun(azimuth=147, elevation=60), np.random.default_rng(5)
    scan = simulated_film(landscape, ground, find_sensor(CAMERA), sun, rng)
    with rasterio.open(
        path,
        "w",
        driver="GTiff",
        height=scan.shape[0],
        width=scan.shape[1],
        count=1,
        dtype=scan.dtype,
        crs=landscape.grid.crs.to_wkt(),
        transform=landscape.grid.affine,
        nodata=0,
    ) as raster:
        raster.write(scan, 1)
    scene = replace(
        newest.scene, id="film of 2025", sensor_id=CAMERA, bands={"pan": Asset(path=path)}
    )
    return [newest, replace(newest, scene=scene), labelled[0]]


def simulated(work: Path, *, film: bool, steps: int) -> tuple[Segmenter, dict[str, Scores]]:
    """The trained network, and its scores by scene."""
    recipe = series_recipe(film=film, steps=steps)
    sources = find_sources(recipe, base=Path(), work=work, on_step=lambda _: None)
    with open_scene(sources.mapped.scene) as reader:
        grid = reader.grid
    split = split_scene(grid, recipe.split)
    material = gather(
        [source for source in sources.labelled if source.learned],
        (),
        recipe,
        ground=HeldOut.parts(grid, [split.validation, split.test]),
    )
    folder = work / ("film" if film else "plain")
    result = train(
        new_segmenter(material.spec, recipe),
        material.chips,
        recipe,
        folder=folder,
        device=CPU,
        record={"training_hash": str(film), "data_hash": str(steps)},
        on_step=lambda _: None,
    )
    segmenter = load_checkpoint(result.model).segmenter
    found = {}
    for source in with_film_of_today(sources.labelled, work):
        maps = folder / source.scene.id
        prediction = predict_scene(
            segmenter,
            source.scene,
            recipe.inference,
            prediction=Prediction(classes=maps / "c.tif", probability=maps / "p.tif"),
            device=CPU,
            tags={},
            on_tile=lambda *_: None,
        )
        with open_raster(prediction.classes) as raster:
            window = HeldOut.parts(grid, [split.test]).window(raster_grid(raster))
        outlines = source.read_outlines()
        found[source.scene.id] = score_map(prediction.classes, outlines, GLACIER_SURFACE, window)
    return segmenter, found


def glacier_iou(scores: Scores) -> float:
    """IoU of ice, clean or under debris: what an outline of a glacier inventory holds."""
    ice = [1, 2]
    hit = scores.confusion[np.ix_(ice, ice)].sum()
    return float(hit / (scores.confusion[ice].sum() + scores.confusion[:, ice].sum() - hit))


def runs_on(segmenter: Segmenter) -> list[int]:
    """Numbers of bands that the network maps, of sensors with so many."""
    s2 = find_sensor("sentinel-2").bands
    sets = {
        1: find_sensor(CAMERA).bands,
        3: RGB,
        4: [b for b in s2 if b.common_name in {"blue", "green", "red", "nir"}],
        10: [b for b in s2 if b.gsd_m <= 20],
        13: s2,
    }
    ran = []
    for count, bands in sets.items():
        image = torch.rand(1, len(bands), 64, 64)
        view = View(
            image,
            torch.ones(1, 64, 64, dtype=torch.bool),
            image.flatten(2),
            torch.tensor([10.0]),
            band_table(bands),
        )
        with torch.inference_mode():
            logits = segmenter(view)
        if len(bands) == count and logits.isfinite().all():
            ran.append(count)
    return ran


# ---- thaw slumps


@dataclass(frozen=True)
class Slump:
    """A chip of the data set in memory."""

    image: np.ndarray  # (3, H, W) float32
    label: np.ndarray  # (H, W) uint8


def read_slumps(folder: Path) -> list[Slump]:
    """The chips of the official train list, in its order."""
    names = json.loads((folder / "data_split.json").read_text())["train"]
    return [_read_slump(folder, Path(name).stem) for name in names]


def _read_slump(folder: Path, stem: str) -> Slump:
    def picture(kind: str) -> Image.Image:
        return Image.open(io.BytesIO(next((folder / kind).glob(f"{stem}.*")).read_bytes()))

    # At half of their size a chip of the network holds a slump and what lies around it.
    colours = np.asarray(picture("images").convert("RGB").reduce(2), dtype=np.float32)
    mask = picture("masks").convert("L").point(lambda v: 255 * (v > 127)).reduce(2)
    label = (np.asarray(mask) > 127).astype(np.uint8)
    return Slump(np.moveaxis(colours, -1, 0).copy(), label)


def crop(slump: Slump, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A random square: image, label, and what lies within the chip."""
    image, label = slump.image, slump.label
    height, width = label.shape
    pad = ((0, max(0, SLUMP_PX - height)), (0, max(0, SLUMP_PX - width)))
    valid = np.pad(np.ones_like(label, dtype=bool), pad)
    image, label = np.pad(image, ((0, 0), *pad)), np.pad(label, pad)
    row, column = (rng.integers(0, n - SLUMP_PX + 1) for n in label.shape)
    place = np.s_[..., row : row + SLUMP_PX, column : column + SLUMP_PX]
    return image[place], label[place], valid[place]


class SlumpChips(Dataset):
    """Random squares of some chips, as geoseg trains on them."""

    def __init__(self, slumps: list[Slump], seed: int) -> None:
        self.slumps, self.seed = slumps, seed
        self.palette = palette_of(slumps)

    def __getitem__(self, index: int) -> Chip:
        rng = np.random.default_rng([self.seed, index])
        slump = self.slumps[rng.integers(len(self.slumps))]
        image, label, valid = crop(slump, rng)
        label = np.where(valid, label, IGNORE).astype(np.uint8)
        return Chip(
            image=torch.from_numpy(image.copy()),
            valid=torch.from_numpy(valid.copy()),
            label=torch.from_numpy(label),
            palette=self.palette,
            bands=RGB,
            gsd_m=SLUMP_GSD_M,
            time=datetime(2018, 7, 1, tzinfo=UTC),
            sensor_id="rgb",
        )


def palette_of(slumps: list[Slump]) -> torch.Tensor:
    """Pixels of all chips: they were cut from one mosaic, which is their scene."""
    rng = np.random.default_rng(0)
    drawn = [slumps[i] for i in rng.integers(len(slumps), size=1024)]
    pixels = [s.image.reshape(3, -1)[:, rng.integers(s.label.size)] for s in drawn]
    return torch.from_numpy(np.stack(pixels, axis=1))


def geoseg_slumps(slumps: list[Slump], *, film: bool, steps: int, folder: Path) -> Segmenter:
    """A network trained by geoseg."""
    recipe = Recipe(
        data="simulated-scene",
        film={"share": 0.7 if film else 0.0, "cameras": [SLUMP_CAMERA]},
        model={"stem": "any"},
        training={
            "steps": steps,
            "batch": SLUMP_BATCH,
            "validate_every": steps,
            "flips": True,
            "averaging": 0.95,
        },
    )
    spec = ModelSpec(
        architecture="unet",
        encoder="resnet18",
        input=AnyInput(
            seen=(*RGB, *find_sensor(SLUMP_CAMERA).bands), gsd_m=(SLUMP_GSD_M, SLUMP_GSD_M)
        ),
        scheme=SLUMP,
        prior=(0.9, 0.1),
    )
    result = train(
        new_segmenter(spec, recipe),
        TrainingChips(SlumpChips(slumps, seed=0)),
        recipe,
        folder=folder,
        device=CPU,
        record={"training_hash": f"{film}", "data_hash": f"{steps}"},
        on_step=lambda _: None,
    )
    return load_checkpoint(result.model).segmenter


def plain_slumps(slumps: list[Slump], *, steps: int) -> torch.nn.Module:
    """The loop that one writes first."""
    torch.manual_seed(0)
    rng = np.random.default_rng(0)
    network = smp.Unet("resnet18", encoder_weights=None, in_channels=3, classes=1)
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-3)
    for _ in range(steps):
        cuts = [crop(slumps[rng.integers(len(slumps))], rng) for _ in range(SLUMP_BATCH)]
        batch = torch.from_numpy(np.stack([image for image, _, _ in cuts])) / 255
        label = torch.from_numpy(np.stack([label for _, label, _ in cuts])).float()[:, None]
        loss = torch.nn.functional.binary_cross_entropy_with_logits(network(batch), label)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return network.eval()


def as_batch(slump: Slump, palette: torch.Tensor) -> Batch:
    """A whole chip."""
    return Batch(
        torch.from_numpy(slump.image)[None],
        torch.ones(1, *slump.label.shape, dtype=torch.bool),
        torch.from_numpy(slump.label)[None],
        palette[None],
        torch.tensor([SLUMP_GSD_M]),
        RGB,
    )


@torch.inference_mode()
def slump_iou(network: torch.nn.Module, slumps: list[Slump], *, film: bool) -> float:
    """IoU over all pixels of some chips, in colour or turned to film."""
    hit = union = 0
    palette = palette_of(slumps)
    for number, slump in enumerate(slumps):
        batch = as_batch(slump, palette)
        if film:
            torch.manual_seed(number)
            (batch,) = film_some([batch], share=1.0, cameras=[SLUMP_CAMERA])
        if isinstance(network, Segmenter):
            mapped = network(batch.view())[0].argmax(0).numpy() == 1
        else:
            image = batch.image.expand(1, 3, *slump.label.shape) / 255
            height, width = slump.label.shape
            padded = torch.nn.functional.pad(image, (0, -width % 32, 0, -height % 32))
            mapped = network(padded)[0, 0, :height, :width].numpy() > 0
        truth = slump.label > 0
        hit += int((mapped & truth).sum())
        union += int((mapped | truth).sum())
    return hit / union


# ---- stem


def stem_cost(rounds: int) -> tuple[float, float]:
    """Seconds with the any-band stem over seconds without, of a training step and of a tile."""
    bands = [find_sensor("sentinel-2").band(n) for n in series_bands()]
    count = len(bands)

    def network(stem: torch.nn.Module, channels: int) -> torch.nn.Module:
        unet = smp.Unet("resnet18", encoder_weights=None, in_channels=channels, classes=7)
        return torch.nn.Sequential(stem, unet.to(memory_format=torch.channels_last))

    torch.manual_seed(0)
    plain = network(FixedBands([0.5] * count, [0.3] * count), count)
    spec = ModelSpec(
        architecture="unet",
        encoder="resnet18",
        input=AnyInput(seen=tuple(bands), gsd_m=(10, 10)),
        scheme=GLACIER_SURFACE,
        prior=(1 / 7,) * 7,
    )
    stem = build_segmenter(spec).stem
    assert isinstance(stem, AnyBands)
    ours = network(stem, stem.channels)
    return (
        _ratio(plain, ours, view_of(bands, BATCH, 128), learn, rounds),
        _ratio(plain, ours, view_of(bands, 1, 512), infer, rounds),
    )


def series_bands() -> tuple[str, ...]:
    """Bands of the simulated Sentinel-2 scenes."""
    return ("blue", "green", "red", "nir", "swir16", "swir22")


def view_of(bands: list, count: int, side: int) -> View:
    """Random images."""
    image = torch.rand(count, len(bands), side, side)
    valid = torch.ones(count, side, side, dtype=torch.bool)
    return View(
        image, valid, image[..., :32, :32].flatten(2), torch.full((count,), 10.0), band_table(bands)
    )


def learn(network: torch.nn.Module, view: View) -> None:
    """A step forth and back."""
    network.train()
    network(view).square().mean().backward()


@torch.inference_mode()
def infer(network: torch.nn.Module, view: View) -> None:
    """One tile."""
    network.eval()(view)


def _ratio(
    plain: torch.nn.Module,
    ours: torch.nn.Module,
    view: View,
    work: Callable[[torch.nn.Module, View], None],
    rounds: int,
) -> float:
    """Median time of ours over plain, measured in turn."""
    ratios = []
    for number in range(rounds + 2):
        begun = time.perf_counter()
        work(plain, view)
        middle = time.perf_counter()
        work(ours, view)
        if number >= 2:  # the first ones fill caches
            ratios.append((time.perf_counter() - middle) / (middle - begun))
    return statistics.median(ratios)


# ---- all


def measure_stem(figures: dict[str, float], rounds: int) -> None:
    """Costs of the stem."""
    figures["stem_train_cost"], figures["stem_infer_cost"] = stem_cost(rounds)
    print(
        f"stem over a plain first convolution: training {figures['stem_train_cost']:.3f}, "
        f"inference {figures['stem_infer_cost']:.3f}",
        flush=True,
    )


def measure_simulated(figures: dict[str, float], steps: int, work: Path) -> None:
    """Film that no training saw."""
    for film_too in (True, False):
        segmenter, found = simulated(work, film=film_too, steps=steps)
        print(f"{'with' if film_too else 'without'} film made of modern scenes, {steps} steps:")
        for name, scores in found.items():
            classes = (f"{n} {c.iou:.3f}" for n, c in scores.classes.items() if c.pixels)
            print(f"  {name}: glacier {glacier_iou(scores):.4f};", *classes)
        s2, today, _ = (glacier_iou(scores) for scores in found.values())
        if film_too:
            figures |= {"iou_s2": s2, "iou_film": today, "film_over_s2": today / s2}
            print("  the same network maps scenes of", runs_on(segmenter), "bands", flush=True)
        else:
            figures["film_over_s2_without"] = today / s2


def measure_slumps(figures: dict[str, float], steps: int, folds: int, work: Path) -> None:
    """Real thaw slumps."""
    folder = Path(os.environ.get("GEOSEG_DATA_MIRROR", "")) / "rts_chips"
    if not (folder / "data_split.json").is_file():
        print("rts_chips is not there: thaw slumps are left out")
        return
    slumps = read_slumps(folder)
    part = np.random.default_rng(0).permutation(len(slumps)) % 5
    rows = []
    for fold in range(folds):
        learned = [s for s, p in zip(slumps, part, strict=True) if p != fold]
        held = [s for s, p in zip(slumps, part, strict=True) if p == fold]
        networks = [
            plain_slumps(learned, steps=steps),
            geoseg_slumps(learned, film=True, steps=steps, folder=work / f"film{fold}"),
            geoseg_slumps(learned, film=False, steps=steps, folder=work / f"colour{fold}"),
        ]
        row = [slump_iou(n, held, film=film) for n in networks for film in (False, True)]
        rows.append(row)
        names = ("plain loop", "geoseg with film", "geoseg without film")
        for name, colour, film in zip(names, row[::2], row[1::2], strict=True):
            print(f"fold {fold}, {name}: IoU {colour:.4f}, as film {film:.4f}", flush=True)
    plain, _, ours, ours_film, colour, colour_film = np.median(rows, axis=0)
    figures |= {
        "rts_iou_baseline": float(plain),
        "rts_iou_geoseg": float(ours),
        "rts_film_drop": float(ours - ours_film),
        "rts_film_drop_without": float(colour - colour_film),
    }


def main() -> None:
    """Measure, print a table, and with --json one object."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--full", action="store_true")
    options = parser.parse_args()
    figures: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as folder:
        measure_stem(figures, rounds=30 if options.full else 12)
        measure_simulated(figures, 1500 if options.full else 400, Path(folder))
        measure_slumps(figures, *((1000, 5) if options.full else (600, 1)), Path(folder))
    for name, value in figures.items():
        print(f"{name:24} {value:.4f}")
    if options.json:
        machine = f"{os.cpu_count()} cores {platform.machine()}, torch {torch.__version__}"
        print(json.dumps({"benchmark": "sensors", "machine": machine, "figures": figures}))


if __name__ == "__main__":
    main()
