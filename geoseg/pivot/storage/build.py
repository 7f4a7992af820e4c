"""A pivot made block by block: what was stopped goes on with the blocks that are missing."""

from __future__ import annotations

import json
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import torch
from odc.geo.geobox import GeoBox

from geoseg.errors import OutputError, SceneError
from geoseg.files import write_json
from geoseg.grids import crs_of
from geoseg.pivot.measurement.looks import readout_of
from geoseg.pivot.measurement.rim import padded
from geoseg.pivot.measurement.variables import load_variables
from geoseg.pivot.physical import PhysicalSettings, build_posterior, learn_usual
from geoseg.pivot.physical.film import FILM_VARIABLE
from geoseg.pivot.storage.blocks import PLAN, Block, blocks_of, forget_blocks, run_blocks
from geoseg.pivot.storage.intake import moment_of, read_acquisition, reflectance_scales
from geoseg.pivot.storage.knots import Source, create_store, open_store, write_block
from geoseg.scale import Manifest, inputs_hash
from geoseg.scenes import band_names
from geoseg.scenes.terrain import open_terrain
from geoseg.sensors import SensorKind, find_sensor

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

    from geoseg.pivot.measurement.acquisition import Acquisition
    from geoseg.pivot.physical import Usual
    from geoseg.scale import Engine, Summary
    from geoseg.scenes import Scene

__all__ = [
    "STORE",
    "PivotPlan",
    "acquisitions_on",
    "build_pivot",
    "files_of",
    "is_laid_out",
    "measured_by",
    "one_thread",
]

STORE = "pivot.zarr"

_BLOCK = 256  # cells to a side
_PIECE, _PIECES = 64, 3  # cells to a side, and pieces to a side, that what is usual is learned on


@dataclass(frozen=True, slots=True, kw_only=True)
class PivotPlan:
    """What is to be built."""

    scenes: tuple[Scene, ...]
    grid: GeoBox  # cells of the pivot, north up, in metres
    out: Path  # folder
    settings: PhysicalSettings
    dem: Path | None = None  # elevation in metres, of any grid
    block: int = _BLOCK

    def __post_init__(self) -> None:
        names = [scene.id for scene in self.scenes]
        twice = {name for name in names if names.count(name) > 1}
        if twice:
            raise SceneError(f"Two scenes are called {min(twice)!r}; give each its own name.")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Job:
    """One block."""

    scenes: tuple[Scene, ...]
    scales: Mapping[str, float]
    store: Path
    settings: PhysicalSettings
    dem: Path | None
    block: Block


def build_pivot(
    plan: PivotPlan,
    engine: Engine | None = None,
    on_block: Callable[[int, int], None] = lambda _done, _all: None,
    say: Callable[[str], None] = lambda _: None,
) -> Summary:
    """Build a pivot on disk, or go on with one.

    What is usual is learned first, on pieces of the ground; then blocks are solved, each with a rim
    of its own.

    Args:
        plan: scenes, grid and folder.
        engine: who does it; this process when None.
        on_block: is told of every block.
        say: is told what is being done.

    Raises:
        SceneError: scenes that show nothing of the grid, two of one name, or values that are no
            reflectance and no decibels.
        GridError: a grid that is not in metres.
        OutputError: the folder holds another pivot, or cannot be written.
    """
    if plan.dem is not None:
        open_terrain(plan.dem, plan.grid)
    scenes = tuple(sorted(plan.scenes, key=lambda one: (moment_of(one), one.id)))
    facts = _facts(plan, scenes)
    with Manifest(plan.out) as manifest:
        with manifest.held():
            store = plan.out / STORE
            scales = reflectance_scales(scenes)
            if not is_laid_out(plan.out, facts):
                say(f"Learning what is usual on the ground of {len(scenes)} scenes")
                with one_thread():
                    usual = _learn(plan, scenes, scales)
                forget_blocks(plan.out, plan.out / PLAN)
                _lay_out(plan, scenes, usual)
                write_json(plan.out / PLAN, facts)
        jobs = [
            _Job(
                scenes=scenes,
                scales=scales,
                store=store,
                settings=plan.settings,
                dem=plan.dem,
                block=block,
            )
            for block in blocks_of(plan.out, plan.grid, plan.block)
        ]
        return run_blocks(
            _solve_block,
            jobs,
            inputs_hash(facts),
            manifest=manifest,
            engine=engine,
            on_block=on_block,
        )


def measured_by(scenes: Sequence[Scene], settings: PhysicalSettings) -> dict[str, list[int]]:
    """Of each variable, the indices of the scenes whose bands say something of it."""
    found: dict[str, list[int]] = {}
    for name in settings.variables or tuple(load_variables()):
        for k, scene in enumerate(scenes):
            film = find_sensor(scene.sensor_id).kind is SensorKind.FILM and name == FILM_VARIABLE
            if film or readout_of(scene.sensor_id, band_names(scene), name) is not None:
                found.setdefault(name, []).append(k)
    return found


def _facts(plan: PivotPlan, scenes: Sequence[Scene]) -> dict[str, Any]:
    """What makes one pivot another."""
    return {
        "grid": [list(plan.grid.shape), list(plan.grid.affine)[:6], crs_of(plan.grid).to_wkt()],
        "settings": asdict(plan.settings) | {"variables": list(plan.settings.variables)},
        "block": plan.block,
        "dem": None if plan.dem is None else [str(plan.dem.absolute()), _seen(plan.dem)],
        "scenes": [
            [
                scene.id,
                scene.sensor_id,
                scene.start.isoformat(),
                scene.end.isoformat(),
                files_of(scene),
            ]
            for scene in scenes
        ],
    }


def files_of(scene: Scene) -> list[list[Any]]:
    """Files of a scene, with their sizes and times of change."""
    found = []
    for name, asset in scene.bands.items():
        found.append([name, str(asset.path), asset.index, _seen(asset.path)])
    return found


def _seen(path: Path) -> list[int] | None:
    stat = path.stat() if path.is_file() else None
    return None if stat is None else [stat.st_size, stat.st_mtime_ns]


def is_laid_out(out: Path, facts: Mapping[str, Any]) -> bool:
    """Whether a store of these facts lies there.

    Raises:
        OutputError: one of others does.
    """
    path = out / PLAN
    if not path.is_file() or not (out / STORE).is_dir():
        return False
    if json.loads(path.read_text(encoding="utf-8")) != facts:
        raise OutputError(
            f"{out} holds a pivot of other scenes, grid or settings; give another --out, or remove "
            "it."
        )
    return True


def _learn(plan: PivotPlan, scenes: Sequence[Scene], scales: Mapping[str, float]) -> Usual:
    pieces = []
    for part in _pieces(plan.grid):
        grid = plan.grid[part]
        found = acquisitions_on(scenes, scales, grid, plan.settings)
        if found:
            pieces.append((found, grid))
    if not pieces:
        raise SceneError("The scenes show nothing of the grid; give scenes or a grid that overlap.")
    return learn_usual(pieces, plan.settings)


def _pieces(grid: GeoBox) -> Iterator[tuple[slice, slice]]:
    """Spread over the grid; all of a small one."""
    height, width = (int(n) for n in grid.shape)
    for top in _spread(height):
        for left in _spread(width):
            yield slice(top, min(height, top + _PIECE)), slice(left, min(width, left + _PIECE))


def _spread(side: int) -> list[int]:
    count = min(_PIECES, max(1, side // _PIECE))
    room = max(0, side - _PIECE)
    return sorted(
        {round(room * (k + 0.5) / count) if count > 1 else room // 2 for k in range(count)}
    )


def _lay_out(plan: PivotPlan, scenes: Sequence[Scene], usual: Usual) -> None:
    sources = [
        Source(id=scene.id, sensor_id=scene.sensor_id, time=moment_of(scene)) for scene in scenes
    ]
    measured = measured_by(scenes, plan.settings)
    knots = {name: measured[name] for name in usual.spreads}
    terrain = plan.dem is not None
    create_store(plan.out / STORE, plan.grid, sources, usual, knots, plan.block, terrain=terrain)


def _solve_block(job: _Job) -> dict[str, Any]:
    """Solve and store a block; its record is written when all of it is stored."""
    rows, columns, made = job.block
    store = open_store(job.store)
    grid = store.grid[rows, columns]
    found = acquisitions_on(job.scenes, job.scales, grid, job.settings)
    with one_thread():
        posterior = build_posterior(found, grid, job.settings, store.usual)
    terrain = None if job.dem is None else open_terrain(job.dem, grid).read_on(grid)
    write_block(store, posterior, rows, columns, terrain)
    measured = {
        name: float(one.shown.isfinite().float().mean()) for name, one in posterior.known.items()
    }
    record = {"acquisitions": len(found), "measured": measured}
    write_json(made, record)
    return record


@contextmanager
def one_thread() -> Iterator[None]:
    """Matrices of a block are too small to be shared: threads would wait for each other."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def acquisitions_on(
    scenes: Sequence[Scene], scales: Mapping[str, float], grid: GeoBox, settings: PhysicalSettings
) -> list[Acquisition]:
    """Those that overlap a grid, with what they show of it and of its rim."""
    area = padded(grid, settings.halo_m)
    found = []
    for scene in scenes:
        seen = read_acquisition(scene, area, scales[scene.id])
        if seen is not None and any(r.pixels.extent.intersects(grid.extent) for r in seen.readings):
            found.append(seen)
    return found
