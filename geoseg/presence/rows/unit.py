"""One unit of embedding: a part of a scene in, a file of rows out."""

from __future__ import annotations

import time
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from rasterio.windows import Window

from geoseg.errors import ModelError
from geoseg.inference import SceneView, open_input
from geoseg.models import choose_device, load_classifier
from geoseg.presence.rows.cut import chips_of, strips
from geoseg.presence.rows.embedder import Embedder, chip_side_px, weights_sha256
from geoseg.presence.rows.store import RowsHeader, SceneRows, write_rows

if TYPE_CHECKING:
    from collections.abc import Iterator

    from geoseg.presence.rows.cut import Strip
    from geoseg.scenes import Scene

__all__ = ["EmbedTask", "embed_unit", "enough_valid"]


@dataclass(frozen=True, slots=True, kw_only=True)
class EmbedTask:
    """One unit: a part of a scene."""

    model: Path
    device: str
    batch: int
    header: RowsHeader
    scene: Scene
    part: tuple[int, int, int, int]  # left, top, width, height in pixels
    output: Path


def embed_unit(task: EmbedTask) -> dict[str, Any]:
    """Write the rows of one part of a scene; what was found, and how long each step took (s)."""
    header = task.header
    embedder = _embedder(task.model, task.device, header.embedder_sha256)
    clock = _Clock()
    found: list[SceneRows] = []
    without = cut_off = 0
    with open_input(embedder.spec.input, task.scene) as reader:
        shown = SceneView.of(reader, embedder.spec.input, embedder.device)
        side_px = chip_side_px(reader, header.chip_m)
        for strip in strips(reader, header.grid, Window(*task.part), side_px):
            clock.lap("read")
            for chips in _batches(strip, side_px, header.least_valid, task.batch):
                clock.lap("cut")
                without += chips.without
                if len(chips.cell):
                    embeddings, logits = embedder(shown.show(chips.images, chips.valid))
                    clock.lap("network")
                    cut_off += header.quantiser.cut_off(embeddings)
                    stored = header.quantiser.store(embeddings)
                    found.append(SceneRows(chips.cell, chips.percent(), logits, stored))
            clock.lap("cut")
    rows = _joined(found, len(header.quantiser.scale))
    write_rows(task.output, header.grid, task.scene, rows)
    clock.lap("write")
    counts = {"rows": len(rows.cell), "without": without, "cut_off": cut_off}
    return {**counts, "seconds": clock.seconds}


class _Chips(NamedTuple):
    """Chips that go through the network together."""

    images: NDArray[np.float32]  # (n, C, H, W)
    valid: NDArray[np.bool_]  # (n, H, W)
    cell: NDArray[np.uint64]  # (n,)
    without: int  # how many more have too little valid

    def percent(self) -> NDArray[np.uint8]:
        """What of each is valid (n,); never 0, as the network looks at a single pixel too."""
        return np.rint(100 * _shares(self.valid)).clip(1, 100).astype(np.uint8)


class _Clock:
    """Seconds of each kind of work."""

    def __init__(self) -> None:
        self.seconds = dict.fromkeys(("read", "cut", "network", "write"), 0.0)
        self._last = time.perf_counter()

    def lap(self, kind: str) -> None:
        """What went by since the last lap was work of this kind."""
        now = time.perf_counter()
        self.seconds[kind] += now - self._last
        self._last = now


def _batches(strip: Strip, side_px: int, least_valid: float, size: int) -> Iterator[_Chips]:
    for first in range(0, len(strip.sites.cell), size):
        chosen = np.arange(first, min(first + size, len(strip.sites.cell)))
        images, valid = chips_of(strip, side_px, chosen)
        enough = enough_valid(valid, least_valid)
        cell = strip.sites.cell[chosen[enough]]
        yield _Chips(images[enough], valid[enough], cell, len(chosen) - len(cell))


def _joined(found: list[SceneRows], width: int) -> SceneRows:
    none = SceneRows(
        cell=np.empty(0, dtype=np.uint64),
        valid=np.empty(0, dtype=np.uint8),
        logit=np.empty(0, dtype=np.float32),
        stored=np.empty((0, width), dtype=np.int8),
    )
    return SceneRows(*(np.concatenate(columns) for columns in zip(none, *found, strict=True)))


def enough_valid(valid: NDArray[np.bool_], least: float) -> NDArray[np.bool_]:
    """Which chips (n,) have a share of valid pixels (n, H, W), and one of them at least."""
    return (_shares(valid) >= least) & valid.any(axis=(1, 2))


def _shares(valid: NDArray[np.bool_]) -> NDArray[np.float64]:
    shares: NDArray[np.float64] = valid.mean(axis=(1, 2))
    return shares


@lru_cache(maxsize=1)
def _embedder(model: Path, device: str, embedder_sha256: str) -> Embedder:
    """That of this process, once for all of its units."""
    classifier = load_classifier(model).classifier
    if weights_sha256(classifier)[0] != embedder_sha256:
        raise ModelError(f"{model} was changed while it was used; run the same command again.")
    return Embedder(classifier, choose_device(device))
