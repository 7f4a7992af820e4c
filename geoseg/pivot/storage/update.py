"""A pivot on disk with further scenes, and without a new run: each block takes them in.

What is usual stays as it is. The pivot that was stays where it is; the new one lies beside it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from geoseg.errors import OutputError, SceneError
from geoseg.files import write_json
from geoseg.pivot.physical import PhysicalSettings
from geoseg.pivot.storage.blocks import (
    PLAN,
    Block,
    blocks_of,
    forget_blocks,
    plan_of,
    run_blocks,
)
from geoseg.pivot.storage.build import (
    STORE,
    acquisitions_on,
    files_of,
    is_laid_out,
    measured_by,
    one_thread,
)
from geoseg.pivot.storage.intake import moment_of, reflectance_scales
from geoseg.pivot.storage.knots import Source, create_store, open_store, write_block
from geoseg.scale import Manifest, inputs_hash
from geoseg.scenes import TERRAIN_BANDS

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from geoseg.pivot.physical.posterior import Posterior
    from geoseg.pivot.storage.knots import StoredPivot
    from geoseg.scale import Engine, Summary
    from geoseg.scenes import Scene

__all__ = ["UpdatePlan", "update_pivot"]


@dataclass(frozen=True, slots=True, kw_only=True)
class UpdatePlan:
    """What is to be taken in."""

    store: Path  # pivot.zarr that is there
    scenes: tuple[Scene, ...]
    out: Path  # folder of the new one


@dataclass(frozen=True, slots=True, kw_only=True)
class _Job:
    """One block."""

    old: Path
    new: Path
    scenes: tuple[Scene, ...]
    scales: Mapping[str, float]
    block: Block


def update_pivot(
    plan: UpdatePlan,
    engine: Engine | None = None,
    on_block: Callable[[int, int], None] = lambda _done, _all: None,
) -> Summary:
    """Take scenes into a pivot, block by block; what was stopped goes on.

    Args:
        plan: pivot, scenes, and where to.
        engine: who does it; this process when None.
        on_block: is told of every block.

    Raises:
        SceneError: no scene, or one that the pivot rests on already.
        OutputError: no pivot lies there, `out` is its folder or holds another one, or cannot be
            written.
    """
    old = open_store(plan.store)
    scenes = tuple(sorted(plan.scenes, key=lambda one: (moment_of(one), one.id)))
    _require_new(old, scenes)
    if (plan.out / STORE).resolve() == plan.store.resolve():
        raise OutputError(f"{plan.out} is the pivot that is to be updated; give another --out.")
    facts = {
        "updated": [str(plan.store.resolve()), plan_of(plan.store)],
        "scenes": [[scene.id, files_of(scene)] for scene in scenes],
    }
    with Manifest(plan.out) as manifest:
        with manifest.held():
            scales = reflectance_scales(scenes)
            if not is_laid_out(plan.out, facts):
                forget_blocks(plan.out, plan.out / PLAN)
                _lay_out(plan, old, scenes)
                write_json(plan.out / PLAN, facts)
        jobs = [
            _Job(old=plan.store, new=plan.out / STORE, scenes=scenes, scales=scales, block=block)
            for block in blocks_of(plan.out, old.grid, old.block)
        ]
        return run_blocks(
            _update_block,
            jobs,
            inputs_hash(facts),
            manifest=manifest,
            engine=engine,
            on_block=on_block,
        )


def _require_new(old: StoredPivot, scenes: tuple[Scene, ...]) -> None:
    if not scenes:
        raise SceneError("An update needs a scene; give a catalogue with one or more.")
    known = {one.id for one in old.sources}
    for scene in scenes:
        if scene.id in known:
            raise SceneError(
                f"Scene {scene.id!r} is in the pivot already; leave it out of the update."
            )
        known.add(scene.id)


def _lay_out(plan: UpdatePlan, old: StoredPivot, scenes: tuple[Scene, ...]) -> None:
    added = [Source(id=one.id, sensor_id=one.sensor_id, time=moment_of(one)) for one in scenes]
    sources = sorted((*old.sources, *added), key=lambda one: (one.time, one.id))
    places = {one.id: k for k, one in enumerate(sources)}
    measured = measured_by(scenes, PhysicalSettings(variables=old.variables))
    knots = {}
    for name in old.variables:
        before = [places[old.sources[k].id] for k in old.knot_sources(name)]
        later = [places[scenes[k].id] for k in measured.get(name, ())]
        knots[name] = sorted({*before, *later})
    terrain = bool(old.terrain((slice(0, 1), slice(0, 1))))
    create_store(plan.out / STORE, old.grid, sources, old.usual, knots, old.block, terrain=terrain)


def _update_block(job: _Job) -> dict[str, Any]:
    rows, columns, made = job.block
    old = open_store(job.old)
    posterior, taken = _with_rim(old, job)
    layers = old.terrain((rows, columns))
    terrain = np.stack([layers[name] for name in TERRAIN_BANDS]) if layers else None
    write_block(open_store(job.new), posterior, rows, columns, terrain)
    record = {"acquisitions": taken}
    write_json(made, record)
    return record


def _with_rim(old: StoredPivot, job: _Job) -> tuple[Posterior, int]:
    """A block after its update, for which pixels beyond it tell too, and how many scenes told."""
    rows, columns, _ = job.block
    settings = PhysicalSettings()
    rim = int(np.ceil(settings.halo_m / abs(old.grid.affine.a)))
    wide = tuple(
        slice(max(0, part.start - rim), min(int(side), part.stop + rim))
        for part, side in zip((rows, columns), old.grid.shape, strict=True)
    )
    posterior = old.posterior((wide[0], wide[1]))
    grid = old.grid[rows, columns]
    taken = 0
    with one_thread():
        for one in acquisitions_on(job.scenes, job.scales, grid, settings):
            looks = posterior.looks(one)
            if looks:
                posterior, taken = posterior.with_looks(one.id, looks), taken + 1
    inner = tuple(
        slice(part.start - around.start, part.stop - around.start)
        for part, around in zip((rows, columns), wide, strict=True)
    )
    return posterior.cropped((inner[0], inner[1])), taken
