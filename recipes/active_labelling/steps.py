"""The steps of the recipe, each a dozen calls of the library.

A step takes what it needs from the folder of the run and leaves its result there:

    recipe.json            the whole recipe as it was used
    pack/                  places: those that are to be labelled, and those that test
    truth.csv              simulate: what each of them is
    project/               begin: the pool, and the record of who says what
    project/rounds/001/    begin: what to look at first
    simulation/            simulate: figures of each labelling, curves.csv, curves.png
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from typing import TYPE_CHECKING, NamedTuple, overload

import numpy as np
import pandas as pd

from geoseg.active.folder import held, opened, pool_folder
from geoseg.active.heads import HeadSettings
from geoseg.active.loop import LoopSettings
from geoseg.active.propose import ProposeSettings
from geoseg.active.rounds import make_round
from geoseg.active.simulate import Simulation
from geoseg.active.sources import chip_side_m, source_of
from geoseg.active.start import Beginning, start_project
from geoseg.commands.active.simulate import run_simulation
from geoseg.config import RECIPE, LabellingRecipe
from geoseg.data import fetch
from geoseg.data.slumps import cut_windows, read_slump_images, simulated_places
from geoseg.errors import ConfigError, LabelError, nearest
from geoseg.files import write_json, writing
from geoseg.presence.packs import Given, make_pack
from geoseg.report.active_layer import write_places_layer
from geoseg.scale import Engine
from geoseg.terminal import note, progress

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from geoseg.active.rounds import MadeRound
    from geoseg.active.simulate import Curves
    from geoseg.chips import Place

__all__ = ["CLASSES", "DATA", "Run", "begin", "simulate"]

DATA = ("rts-chips", "simulated")
CLASSES = ("absent", "present")
_OF_PLACES = ("data", "seed", "places", "ratio")  # keys that decide which places there are
_TESTS = 0.5  # share of simulated places
_PER_SHARD = 250
_MOST_PRESENT = 0.6  # of simulated places
_LEAST = 2  # places that hold it, to be found and to test by
_SENSOR = "sentinel-2"  # whose images of simulated places are taken


class _Places(NamedTuple):
    """Places of a data set, and what they are."""

    name: str
    places: Sequence[Place]
    present: NDArray[np.bool_]
    tests: NDArray[np.bool_]
    kinds: Sequence[str]  # hidden kind of those present, '' where it has none


class _Some(Sequence["Place"]):
    """Some places, made when asked for."""

    def __init__(self, places: Sequence[Place], rows: NDArray[np.intp]) -> None:
        self._places, self._rows = places, rows

    def __len__(self) -> int:
        return len(self._rows)

    @overload
    def __getitem__(self, index: int) -> Place: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Place]: ...
    def __getitem__(self, index: int | slice) -> Place | Sequence[Place]:
        if isinstance(index, slice):
            return _Some(self._places, self._rows[index])
        return self._places[int(self._rows[index])]


@dataclass(frozen=True)
class Run:
    """A recipe and the folder that its results go to."""

    recipe: LabellingRecipe
    out: Path
    workers: int

    @property
    def pack(self) -> Path:
        """Images of all places."""
        return self.out / "pack"

    @property
    def truth(self) -> Path:
        """What each place is."""
        return self.out / "truth.csv"

    @property
    def project(self) -> Path:
        """Of the labelling."""
        return self.out / "project"

    @property
    def simulation(self) -> Path:
        """What labels are worth."""
        return self.out / "simulation"

    @cached_property
    def engine(self) -> Engine:
        """Who embeds and simulates."""
        return Engine.of_workers(self.workers)


def begin(run: Run) -> MadeRound:
    """Begin a project, and propose what to look at first; one that is begun gets a next round."""
    _start(run, _places(run.recipe))
    wanted = run.recipe.round
    settings = ProposeSettings(
        strategy=wanted.strategy,
        count=wanted.items,
        apart_m=wanted.apart_m,
        seed=run.recipe.seed,
    )
    with opened(run.project) as (project, pool), held(run.project):
        write_layer = partial(
            write_places_layer,
            pool=pool,
            classes=project.classes,
            key=project.key,
            chip_m=chip_side_m(run.project),
        )
        return make_round(project, pool, settings, heads=HeadSettings(), write_layer=write_layer)


def simulate(run: Run) -> Curves:
    """Run whole labellings of the pool by its truth, and draw what labels are worth."""
    told = _places(run.recipe)
    _start(run, told)
    _write_truth(run.truth, told)
    wanted = run.recipe.simulation
    simulation = Simulation(
        pool=pool_folder(run.project).absolute(),
        truth=run.truth.absolute(),
        strategies=wanted.strategies,
        seeds=wanted.seeds,
        loop=LoopSettings(batch=wanted.batch, rounds=wanted.rounds, starts=wanted.starts),
    )
    return run_simulation(simulation, run.simulation, run.engine, title=str(run.recipe.data))


def _start(run: Run, told: _Places) -> None:
    """Pack the places, and make the pool.

    Raises:
        ConfigError: places of another recipe lie there.
    """
    _require_own(run)
    with progress("Packing") as advance:
        make_pack(
            Given(
                pool=told.places, name=f"{told.name}, {len(told.places)} at 1:{run.recipe.ratio}"
            ),
            run.pack,
            per_shard=_PER_SHARD,
            on_shard=lambda done, total: advance(done, total, "shards"),
        )
    beginning = Beginning(source=source_of("pack", run.pack), classes=CLASSES)
    with progress("Embedding") as advance:
        started = start_project(
            run.project,
            beginning,
            run.engine,
            on_part=lambda done, total: advance(done, total, "shards"),
        )
    write_json(run.out / RECIPE, run.recipe.model_dump(mode="json"))
    note(f"{started.items} places in the pool, {len(started.problems)} show nothing")


def _name_of(run: Run, told: _Places) -> str:
    """By which a pack is known to be of the same places."""
    return f"{told.name}, {len(told.places)} places at 1:{run.recipe.ratio}"


def _require_own(run: Run) -> None:
    """Refuse to pack other places where somebody may have labelled some already."""
    path = run.out / RECIPE
    if not path.is_file():
        return
    try:
        recorded = LabellingRecipe.model_validate_json(path.read_bytes())
    except ValueError as error:
        raise ConfigError(f"{path} is no recipe of this kind; name another folder.") from error
    changed = [key for key in _OF_PLACES if getattr(recorded, key) != getattr(run.recipe, key)]
    if changed:
        raise ConfigError(
            f"{run.out} holds places of another recipe ({', '.join(changed)}); name another folder "
            "for --out."
        )


def _write_truth(path: Path, told: _Places) -> None:
    table = pd.DataFrame(
        {
            "item": [place.id for place in told.places],
            "class": np.where(told.present, CLASSES[1], CLASSES[0]),
            "kind": told.kinds,
            "part": np.where(told.tests, "test", ""),
        }
    )
    with writing(path) as aside:
        table.to_csv(aside, index=False)


def _places(recipe: LabellingRecipe) -> _Places:
    data = (recipe.data or "").replace("_", "-")
    if data == "simulated":
        return _simulated(recipe)
    if data == "rts-chips":
        return _rts_chips(recipe)
    raise ConfigError(f"no places of data {recipe.data!r}. {nearest(data, DATA)}")


def _simulated(recipe: LabellingRecipe) -> _Places:
    """The clearest image by Sentinel-2 of each place that has one."""
    # More than wanted: both parts have some then, and what is too many is left out.
    prevalence = min(2 / (1 + recipe.ratio), _MOST_PRESENT)
    made = simulated_places(recipe.places, seed=recipe.seed, prevalence=prevalence)
    places, present = [], []
    with progress("Simulating") as advance:
        for number, place in enumerate(made, start=1):
            images = [image for image in place.images if image.sensor_id.startswith(_SENSOR)]
            if images:
                clearest = max(images, key=lambda one: (float(one.valid.float().mean()), one.time))
                places.append(replace(place, images=(clearest,)))
                present.append(bool(made.present[number - 1]))
            advance(number, len(made), "places")
    tests = np.random.default_rng([recipe.seed, 1]).random(len(places)) < _TESTS
    return _at_ratio(
        _Places(f"simulated {recipe.seed}", places, np.array(present), tests, [""] * len(places)),
        recipe,
    )


def _rts_chips(recipe: LabellingRecipe) -> _Places:
    """Windows of half of the grounds are to be labelled, those of the other half test."""
    windows = cut_windows(read_slump_images(fetch("rts-chips", on_file=note)), seed=recipe.seed)
    regions = [windows.images[n].region for n in windows.image]
    kinds = [own if held else "" for own, held in zip(regions, windows.present, strict=True)]
    told = _Places(f"rts-chips {recipe.seed}", windows, windows.present, windows.fold > 0, kinds)
    return _at_ratio(told, recipe)


def _at_ratio(told: _Places, recipe: LabellingRecipe) -> _Places:
    """All without, and one for `ratio` of these with, drawn at random; in both parts."""
    rng = np.random.default_rng([recipe.seed, 2])
    kept = []
    for own in (~told.tests, told.tests):
        absent = np.flatnonzero(own & ~told.present)
        held_by = rng.permutation(np.flatnonzero(own & told.present))
        held_by = held_by[: len(absent) // recipe.ratio]
        if len(held_by) < _LEAST:
            raise LabelError(
                f"{len(absent)} places at 1:{recipe.ratio} leave {len(held_by)} that hold it; "
                "lower `ratio`, or take more places."
            )
        kept += [absent, held_by]
    rows = np.sort(np.concatenate(kept))
    return _Places(
        told.name,
        _Some(told.places, rows),
        told.present[rows],
        told.tests[rows],
        [told.kinds[row] for row in rows],
    )
