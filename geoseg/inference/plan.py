"""What mapping a scene will take, before it is begun."""

from __future__ import annotations

import resource
import time
from collections import Counter
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any
from weakref import finalize

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from geoseg.errors import ConfigError
from geoseg.grids import gsd_m
from geoseg.inference.layers import Layers
from geoseg.inference.maps import Prediction
from geoseg.inference.stream import AHEAD, rows_at_once
from geoseg.inference.tiles import TileGrid
from geoseg.scenes import bands_of
from geoseg.views import View, band_table

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from odc.geo.geobox import GeoBox
    from torch import Tensor

    from geoseg.config import InferenceSettings
    from geoseg.inference.chance import Mapper
    from geoseg.scenes import SceneReader

__all__ = ["MappingPlan", "cache_bytes", "plan_mapping", "plan_tiles", "within_memory"]

_STATM = Path("/proc/self/statm")
_PROGRAM_STEP = 256 * 2**20  # bytes
_PROBE_PX = 256
_LEAST_TILE_PX = 64
_LEAST_CACHE, _MOST_CACHE = 32 * 2**20, 256 * 2**20
_FIRST_USE = 200_000_000  # bytes of kernels, drivers and overviews that are loaded or made later
# Kernels lay out their input anew, and allocators keep what was given back.
_KERNELS = 1.5


@dataclass(frozen=True, slots=True, kw_only=True)
class MappingPlan:
    """What mapping a scene takes."""

    height_px: int
    width_px: int
    gsd_m: float
    tile_height_px: int
    tile_width_px: int
    tiles: int
    batches: int
    forward_px_ratio: float  # pixels that the network is shown, over those of the scene
    memory_mb: float  # most that the process holds at once
    disk_mb: float  # most that the unfinished maps take, uncompressed
    seconds: float | None  # None where it was not tried


def plan_tiles(map_grid: GeoBox, settings: InferenceSettings) -> TileGrid:
    """Tiles over the grid of a map."""
    height, width = map_grid.shape
    return TileGrid.plan(
        (height, width), core_px=settings.tile_px, halo_px=settings.halo_px, blend=settings.blend
    )


def cache_bytes(reader: SceneReader, grid: TileGrid) -> int:
    """What GDAL may keep decoded: the blocks under a row of tiles, so that none is decoded twice.

    More than 256 MiB is not kept, so that memory does not grow with a scene.
    """
    # A row of tiles begins and ends within a row of blocks.
    rows = grid.rows.size_px * reader.coarser + 2 * reader.block_height_px
    needed = rows * reader.grid.shape.x * reader.coarser * reader.stored_bytes_per_px
    return int(min(max(needed, _LEAST_CACHE), _MOST_CACHE))


def plan_mapping(
    mapper: Mapper, reader: SceneReader, settings: InferenceSettings, *, timed: bool
) -> MappingPlan:
    """What mapping a scene takes.

    The memory of the network is measured on a small tile and scaled up by its pixels.

    Args:
        mapper: the networks.
        reader: of the scene.
        settings: tiles and what is kept.
        timed: whether to map a batch of noise, for the time that all will take.
    """
    grid = plan_tiles(reader.grid, settings)
    height, width = reader.grid.shape
    layers = Layers.of(
        len(mapper.spec.scheme.classes), Prediction.within(Path(), settings), settings
    )
    batch = min(settings.batch, grid.count)
    at_once = rows_at_once(grid, batch)
    groups = -(-len(grid.rows.starts) // at_once)
    batches = groups * -(-at_once * len(grid.columns.starts) // batch)
    held: float = _program_bytes() + _FIRST_USE + _other_bytes(reader, grid, layers, batch)
    if mapper.device.type == "cpu":
        held += _network_bytes(mapper, reader, grid, batch)
    return MappingPlan(
        height_px=height,
        width_px=width,
        gsd_m=gsd_m(reader.grid),
        tile_height_px=grid.rows.size_px,
        tile_width_px=grid.columns.size_px,
        tiles=grid.count,
        batches=batches,
        forward_px_ratio=grid.forward_px / (height * width),
        memory_mb=held / 1e6,
        disk_mb=height * width * layers.count * (2 if settings.prevalence_reach_m else 1) / 1e6,
        seconds=_batch_seconds(mapper, reader, grid, batch) * batches if timed else None,
    )


def within_memory(
    mapper: Mapper, reader: SceneReader, settings: InferenceSettings, most_mb: float
) -> InferenceSettings:
    """The settings with tiles, and batches of them, small enough for this much memory.

    Raises:
        ConfigError: the smallest tiles take more.
    """
    tried = settings
    while True:
        plan = plan_mapping(mapper, reader, tried, timed=False)
        if plan.memory_mb <= most_mb:
            return tried
        smaller = _smaller(tried)
        if smaller is None:
            raise ConfigError(
                f"The scene cannot be mapped in {most_mb:.0f} MB: with the smallest tiles it takes "
                f"{plan.memory_mb:.0f} MB; give --max-memory more."
            )
        tried = smaller


def _smaller(settings: InferenceSettings) -> InferenceSettings | None:
    """Fewer tiles at once, then smaller ones, with a halo that fits."""
    if settings.batch > 1:
        return settings.model_copy(update={"batch": settings.batch // 2})
    if settings.tile_px == _LEAST_TILE_PX:
        return None
    core = max(_LEAST_TILE_PX, settings.tile_px // 2 // 32 * 32)
    halo = min(settings.halo_px, core // 4 // 16 * 16)
    return settings.model_copy(update={"tile_px": core, "halo_px": halo})


def _other_bytes(reader: SceneReader, grid: TileGrid, layers: Layers, batch: int) -> int:
    """What is held of the scene and the map, beside the network."""
    width, bands = reader.grid.shape.x, len(reader.bands)
    rows = grid.rows.size_px * rows_at_once(grid, batch)
    tiles = ((AHEAD + 2) * batch + 1) * grid.rows.size_px * grid.columns.size_px
    sums = 2 * (layers.classes + 1) + 1 if grid.blend == "smooth" else layers.count
    # Finished rows are encoded, handed over and compressed: three copies.
    canvas = rows * width * (sums + 3 * layers.count)
    return canvas + tiles * (4 * bands + 1) * 2 + cache_bytes(reader, grid)


@cache
def _program_bytes() -> int:
    """What the process held when it was first asked: libraries and networks.

    In whole steps and asked once, so that the tiles of a scene do not depend on what was mapped
    before it.
    """
    held = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    if _STATM.exists():
        held = int(_STATM.read_text().split()[1]) * resource.getpagesize()
    return -(-held // _PROGRAM_STEP) * _PROGRAM_STEP


def _network_bytes(mapper: Mapper, reader: SceneReader, grid: TileGrid, batch: int) -> float:
    """The most that tensors of a batch take at once."""
    side = min(_PROBE_PX, *grid.tile_shape)
    with _Live() as live:
        mapper(_noise(mapper, reader, (side, side), 1), 0)
    scale = batch * grid.rows.size_px * grid.columns.size_px / side**2
    return float(live.peak * scale * _KERNELS)


def _batch_seconds(mapper: Mapper, reader: SceneReader, grid: TileGrid, batch: int) -> float:
    view = _noise(mapper, reader, grid.tile_shape, batch)
    # The first time, memory is asked for and kernels are chosen.
    for _ in range(2):
        begun = time.perf_counter()
        mapper(view, 0).mean.sum().item()
    return time.perf_counter() - begun


def _noise(mapper: Mapper, reader: SceneReader, shape: tuple[int, int], count: int) -> View:
    bands = bands_of(reader.scene, reader.bands)
    image = torch.rand(count, len(bands), *shape, device=mapper.device)
    return View(
        image=image,
        valid=torch.ones(count, *shape, dtype=torch.bool, device=mapper.device),
        palette=image[..., :32, :32].flatten(2),
        gsd_m=torch.full((count,), gsd_m(reader.grid), device=mapper.device),
        bands=band_table(bands).to(mapper.device),
    )


class _Live(TorchDispatchMode):
    """The bytes of all tensors that are alive, at their most."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.peak = 0
        self._bytes = 0
        self._users: Counter[int] = Counter()

    def __torch_dispatch__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:  # noqa: ANN401  whatever an operation gives
        out = func(*args, **(kwargs or {}))
        for leaf in tree_leaves(out):
            if isinstance(leaf, torch.Tensor):
                self._hold(leaf)
        return out

    def _hold(self, tensor: Tensor) -> None:
        memory = tensor.untyped_storage()
        key, size = memory.data_ptr(), memory.nbytes()
        if not self._users[key]:
            self._bytes += size
            self.peak = max(self.peak, self._bytes)
        self._users[key] += 1
        finalize(tensor, self._let_go, key, size)

    def _let_go(self, key: int, size: int) -> None:
        self._users[key] -= 1
        if not self._users[key]:
            self._bytes -= size
