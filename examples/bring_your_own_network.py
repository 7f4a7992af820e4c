"""Train a network of your own in plain torch, map a scene with it, and hand it on as a checkpoint.

    python examples/bring_your_own_network.py

geoseg gives the chips and does what comes after the network: tiles, maps, outlines, areas. The
training is a loop of torch; a trainer of torchgeo or Lightning takes the same loader. Half a minute
on two cores.
"""

from __future__ import annotations

from pathlib import Path

import geopandas as gpd
import numpy as np
import torch
import torch.nn.functional as F
from rasterio.windows import Window
from torch import nn
from torch.utils.data import DataLoader

from geoseg.chips import ChipSource, GridChips, Samples
from geoseg.config import ChipSettings, InferenceSettings, OutlineSettings
from geoseg.data import simulate
from geoseg.inference import Prediction, predict_scene
from geoseg.labels import GLACIER, IGNORE, place_labels
from geoseg.models import (
    FixedInput,
    ModelSpec,
    Segmenter,
    adopt_network,
    build_segmenter,
    load_checkpoint,
    save_checkpoint,
)
from geoseg.scenes import Scene, open_raster, open_scene, read_scene
from geoseg.vectorize import outline_scene

import segmentation_models_pytorch as smp  # isort: skip  geoseg.models makes it importable

OUT = Path("out/own-network")
BANDS = ("red", "nir", "swir16")
MEAN, STD = (0.3, 0.3, 0.1), (0.2, 0.2, 0.1)  # reflectance, as the scene has it
EPOCHS = 6


def loader_of(scene: Scene, outlines: Path) -> DataLoader[dict[str, torch.Tensor]]:
    """Chips of the western part of the scene: `image` (N, C, H, W) and `mask` (N, H, W)."""
    drawn = gpd.read_file(outlines, layer="outlines_2025")
    ice = drawn[drawn["class_name"].isin(["clean_ice", "debris_ice"])]
    with open_scene(scene, BANDS) as reader:
        grid = reader.grid
        labels = place_labels(ice.assign(class_name="glacier"), grid, GLACIER, margin_m=5)
    west = Window(0, 0, int(0.6 * grid.shape.x), grid.shape.y)
    chips = GridChips(ChipSource(scene, labels, BANDS), west, ChipSettings(size_px=64))
    generator = torch.Generator().manual_seed(0)
    return DataLoader(Samples(chips), batch_size=8, shuffle=True, generator=generator)


def train(network: nn.Module, loader: DataLoader[dict[str, torch.Tensor]]) -> None:
    """Any loop does; `IGNORE` marks pixels that nobody knows the class of."""
    mean, std = (torch.tensor(values).view(1, -1, 1, 1) for values in (MEAN, STD))
    optimizer = torch.optim.AdamW(network.parameters(), lr=2e-3)
    network.train()
    for epoch in range(EPOCHS):
        losses = []
        for batch in loader:
            logits = network((batch["image"] - mean) / std)
            loss = F.cross_entropy(logits, batch["mask"], ignore_index=IGNORE)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
        print(f"epoch {epoch + 1} of {EPOCHS}, loss {np.mean(losses):.3f}")


def map_scene(segmenter: Segmenter, scene: Scene, folder: Path) -> Prediction:
    """Classes and probabilities of the scene, as GeoTIFFs."""
    settings = InferenceSettings(tile_px=256)
    return predict_scene(
        segmenter,
        scene,
        settings,
        prediction=Prediction.within(folder, settings),
        device=torch.device("cpu"),
        tags={},
        on_tile=lambda _done, _total: None,
    )


torch.manual_seed(0)
simulate(OUT / "landscape", size_m=4800)
scene = read_scene(OUT / "landscape" / "scenes" / "sentinel-2_20250815.json")
loader = loader_of(scene, OUT / "landscape" / "outlines.gpkg")
masks = torch.cat([batch["mask"].flatten() for batch in loader])
ice = (masks == 1).sum().item() / (masks != IGNORE).sum().item()

network = smp.Unet("resnet18", encoder_weights=None, in_channels=len(BANDS), classes=2)
train(network, loader)

# Any nn.Module, with what it was trained on told: a network that takes or gives something else is
# refused. The prior is the share of each class among the pixels that it learned from.
adopted = adopt_network(
    network,
    scheme=GLACIER,
    sensor="sentinel-2",
    bands=BANDS,
    mean=MEAN,
    std=STD,
    prior=(1 - ice, ice),
)
maps = map_scene(adopted, scene, OUT / "map")
outlines = outline_scene(
    maps.classes, maps.probability, scene=scene, scheme=GLACIER, settings=OutlineSettings()
)
print(outlines[["glims_id", "area_km2", "area_unc_km2", "probability"]].round(3).to_string())

# An architecture that smp knows by name becomes a checkpoint, which `geoseg predict --model` takes.
spec = ModelSpec(
    architecture="unet",
    encoder="resnet18",
    input=FixedInput(bands=BANDS, mean=MEAN, std=STD),
    scheme=GLACIER,
    prior=(1 - ice, ice),
)
kept = build_segmenter(spec)
kept.network.load_state_dict(network.state_dict())
save_checkpoint(OUT / "model.safetensors", kept, {"source": "bring_your_own_network.py"})

again = map_scene(load_checkpoint(OUT / "model.safetensors").segmenter, scene, OUT / "map-again")
with open_raster(maps.classes) as one, open_raster(again.classes) as other:
    same = np.mean(one.read(1) == other.read(1))
print(f"the checkpoint maps {same:.2%} of the pixels the same")
