"""The steps of the recipe, each a dozen calls of the library.

A step takes what it needs from the folder of the run and leaves its result there:

    recipe.json                           the whole recipe as it was used
    grounds/teaching_N.safetensors        make_grounds: a year of the pivot with its land cover
    grounds/testing_N.safetensors
    model/network.safetensors             train; its card network.stac.json
    maps/testing_N/METHOD/classes_GSD.tif predict: class maps, by method and pixel size
    maps/testing_N/METHOD/shares_GSD.tif  predict: shares of each class, and the known area
    maps/testing_N/attention/LEGEND_GSD.tif  predict: the class map in another legend
    scores.json                           evaluate
    land_cover.png                        draw
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch

from geoseg import __version__
from geoseg.config import RECIPE, recipe_hash, training_hash
from geoseg.data.seasons import simulated_year
from geoseg.errors import DataError, ModelError
from geoseg.files import sha256_of, write_json
from geoseg.landcover.agreement import AgreeingMaps, aggregate_labels, agreeing_maps, agreement
from geoseg.landcover.attention import AttentionSpec, load_attention, save_attention
from geoseg.landcover.card import write_attention_card
from geoseg.landcover.cells import Samples, cell_years, draw_samples, split_by_parcel
from geoseg.landcover.files import (
    Panel,
    draw_panels,
    gsd_name,
    read_classes,
    read_shares,
    write_classes,
    write_shares,
)
from geoseg.landcover.forests import grow_boosted, grow_forest
from geoseg.landcover.ground import (
    LabelledGround,
    ground_of_cube,
    open_cube,
    parcels_of,
    read_ground,
    write_ground,
)
from geoseg.landcover.legends import find_legend, translate
from geoseg.landcover.scores import confusions_by_parcel, score_cover, share_error
from geoseg.landcover.shares import Shares, aggregate
from geoseg.landcover.teach import attention_shares, teach_attention
from geoseg.models import choose_device
from geoseg.pivot.measurement.acquisition import days_of
from geoseg.pivot.physical import build_posterior
from geoseg.scale import Engine, Manifest, Unit, inputs_hash, run_units
from geoseg.terminal import progress

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from geoseg.config import CubeSettings, GroundSettings, LandCoverRecipe
    from geoseg.landcover.cells import CellYears
    from geoseg.landcover.legends import Legend
    from geoseg.landcover.scores import CoverScores

__all__ = ["METHODS", "Run", "draw", "evaluate", "make_grounds", "predict", "train"]

METHODS = ("attention", "forest", "boosting")


@dataclass(frozen=True)
class Run:
    """A recipe and the folder that its results go to."""

    recipe: LandCoverRecipe
    out: Path
    device: str
    workers: int = 1

    @property
    def model(self) -> Path:
        """The network."""
        return self.out / "model" / "network.safetensors"

    @property
    def testing(self) -> tuple[str, ...]:
        """Names of the grounds that are mapped."""
        own = len(self.recipe.testing)
        return tuple(f"testing_{i}" for i in range(own or self.recipe.ground.testing))

    @property
    def teaching(self) -> tuple[str, ...]:
        """Names of the grounds to learn from."""
        own = len(self.recipe.teaching)
        return tuple(f"teaching_{i}" for i in range(own or self.recipe.ground.teaching))

    def ground(self, name: str) -> Path:
        """A year of the pivot."""
        return self.out / "grounds" / f"{name}.safetensors"

    def map_of(self, ground: str, method: str, what: str, gsd_m: float) -> Path:
        """A map: `classes`, `shares` or the name of a legend."""
        return self.out / "maps" / ground / method / f"{what}_{gsd_name(gsd_m)}.tif"

    @property
    def gsds_m(self) -> tuple[float, ...]:
        """Pixel sizes of the maps, that of the pivot among them."""
        return tuple(sorted({*self.recipe.maps.gsd_m, self.pivot_m}))

    @cached_property
    def pivot_m(self) -> float:
        """Cells of the pivot: maps of this pixel size are scored."""
        return float(read_ground(self.ground(self.testing[0])).grid.affine.a)

    @property
    def legend(self) -> Legend:
        """Of the classes that are learned."""
        return find_legend(self.recipe.legend)

    @cached_property
    def parts(self) -> tuple[Samples, Samples]:
        """Cells that teach, and those of other parcels that the best step is chosen on."""
        settings, rng = self.recipe.learning, np.random.default_rng(self.recipe.seed)
        grounds = [read_ground(self.ground(name)) for name in self.teaching]
        samples = draw_samples(grounds, per_class=settings.per_class, rng=rng)
        return split_by_parcel(samples, share=settings.held_out, rng=rng)

    @property
    def provenance(self) -> dict[str, str]:
        """What every result names: package, recipe, and the number of threads."""
        return {
            "geoseg": __version__,
            "recipe_hash": recipe_hash(self.recipe),
            "training_hash": training_hash(self.recipe),
            "threads": str(torch.get_num_threads()),
        }


class Trained(NamedTuple):
    """The network as it is kept."""

    step: int  # that it is of
    loss: float  # of parcels that did not teach
    accuracy: float


def make_grounds(run: Run) -> int:
    """Make the pivot of simulated years, or read cubes; what is there is not made again.

    Raises:
        DataError: a ground cannot be made, and why.
    """
    run.out.mkdir(parents=True, exist_ok=True)
    write_json(run.out / RECIPE, run.recipe.model_dump(mode="json"))
    own = run.recipe.data == "cubes"
    units = _units_of_cubes(run) if own else _units_of_years(run)
    engine = Engine.of_workers(run.workers)
    ended = 0
    with progress("Reading cubes" if own else "Making the pivot of simulated years") as advance:

        def count(_: object) -> None:
            nonlocal ended
            ended += 1
            advance(ended, len(units), "grounds")

        manifest = Manifest(run.out / "grounds")
        work = _read_cube if own else _simulate
        summary = run_units(work, units, engine=engine, manifest=manifest, on_done=count)
    for failure in summary.failed:
        raise DataError(f"{failure.name} could not be made: {failure.error}")
    return summary.done


def train(run: Run) -> Trained:
    """Teach the network, where it is not there yet."""
    wanted = _taught_by(run)
    if run.model.is_file():
        _, record = load_attention(run.model)
        if record.get("taught_by") == wanted:
            return Trained(record["step"], record["loss"], record["accuracy"])
    recipe, (teaching, held_out) = run.recipe, run.parts
    spec = AttentionSpec.fitting(teaching.years, run.legend.names, width=recipe.learning.width)
    with progress("Training") as advance:
        taught = teach_attention(
            spec,
            teaching,
            held_out,
            recipe.learning,
            seed=recipe.seed,
            device=choose_device(run.device),
            on_step=advance,
        )
    trained = Trained(taught.step, taught.loss, taught.accuracy)
    record = {**run.provenance, "taught_by": wanted, **trained._asdict()}
    save_attention(run.model, taught.network, record)
    grounds = (read_ground(run.ground(name)) for name in run.teaching)
    write_attention_card(run.model, taught.network, grounds, recipe, record)
    return trained


def predict(run: Run) -> int:
    """Map the grounds that test by each method, at each pixel size; the number of maps.

    Raises:
        ModelError: the network is of another recipe or other grounds.
    """
    _require_own(run)
    done, total = 0, len(METHODS) * len(run.testing)
    with progress("Mapping") as advance:
        for method in METHODS:
            shares_of = _method(run, method)
            for name in run.testing:
                ground = read_ground(run.ground(name))
                share = shares_of(cell_years(ground)).T.reshape(-1, *ground.land_cover.shape)
                shares = Shares.of(np.where(ground.known, share, np.nan), ground.grid)
                _write_maps(run, name, method, agreeing_maps(shares, run.gsds_m))
                done += 1
                advance(done, total, method)
    return total * len(run.gsds_m)


def evaluate(run: Run) -> dict[str, Any]:
    """Score the maps of each method: cells, areas, and how the maps agree."""
    _require_own(run)
    figures: dict[str, Any] = {}
    for method in METHODS:
        scores = _score_cells(run, method)
        figures[method] = {
            **asdict(scores),
            "share_error": _share_errors(run, method),
            "agreement": _agreements(run, method),
        }
    write_json(run.out / "scores.json", {**figures, **run.provenance})
    return figures


def draw(run: Run) -> Path:
    """Draw what covers the first ground that tests, and its maps, at 10 m and at the coarsest."""
    name = run.testing[0]
    ground = read_ground(run.ground(name))
    rows = []
    for gsd in sorted({run.pivot_m, max(run.gsds_m)}):
        maps = {
            method: read_classes(run.map_of(name, method, "classes", gsd))[0] for method in METHODS
        }
        truth = aggregate_labels(ground.land_cover, run.pivot_m, gsd)
        maps = {"reference": run.legend.codes_of(truth), **maps}
        rows.append([Panel(f"{what}, {gsd:g} m", codes, gsd) for what, codes in maps.items()])
    picture = run.out / "land_cover.png"
    draw_panels(picture, rows, run.legend)
    return picture


def _units_of_years(run: Run) -> list[Unit]:
    names = (*run.teaching, *run.testing)
    seeds = np.random.SeedSequence(run.recipe.seed).generate_state(len(names))
    settings = run.recipe.ground
    # How many grounds there are changes none of them.
    made_of = settings.model_dump(mode="json", exclude={"teaching", "testing"})
    return [
        Unit(
            name=name,
            argument=(int(seed), settings, run.ground(name)),
            output=run.ground(name),
            inputs=inputs_hash({"seed": int(seed), "version": __version__, **made_of}),
        )
        for name, seed in zip(names, seeds, strict=True)
    ]


def _units_of_cubes(run: Run) -> list[Unit]:
    recipe = run.recipe
    return [
        Unit(
            name=name,
            argument=(cube, recipe.legend, run.ground(name)),
            output=run.ground(name),
            inputs=inputs_hash({"legend": recipe.legend, **cube.model_dump(mode="json")}),
        )
        for name, cube in zip(
            (*run.teaching, *run.testing), (*recipe.teaching, *recipe.testing), strict=True
        )
    ]


def _simulate(argument: tuple[int, GroundSettings, Path]) -> None:
    seed, settings, path = argument
    year = simulated_year(seed, side=settings.side)
    first = datetime(year.acquisitions[0].time.year, 1, 1, 12, tzinfo=UTC)
    begin = days_of([first])[0] + settings.every_days / 2
    days = np.arange(begin, begin + 365 - settings.every_days / 2, settings.every_days)
    told = build_posterior(year.acquisitions, year.grid).at([float(day) for day in days])
    write_ground(path, LabelledGround.of(told, year.grid, year.land_cover))


def _read_cube(argument: tuple[CubeSettings, str, Path]) -> None:
    settings, legend, path = argument
    codes, grid = read_classes(Path(settings.reference))
    with open_cube(Path(settings.path)) as cube:
        write_ground(path, ground_of_cube(cube, find_legend(legend).indices_of(codes), grid))


def _taught_by(run: Run) -> str:
    """A hash of all that the network depends on."""
    grounds = {name: sha256_of(run.ground(name)) for name in run.teaching}
    return inputs_hash({"training": training_hash(run.recipe), "grounds": grounds})


def _require_own(run: Run) -> None:
    if load_attention(run.model)[1].get("taught_by") != _taught_by(run):
        raise ModelError(
            f"{run.model} was taught by another recipe or on other grounds; run "
            "`geoseg pivot-landcover train` again."
        )


def _method(run: Run, name: str) -> Callable[[CellYears], NDArray[np.float64]]:
    """Shares of the classes of cells, by a network that is read or by trees that are grown."""
    if name == "attention":
        network, _ = load_attention(run.model)
        return partial(attention_shares, network.to(choose_device(run.device)))
    grow = {"forest": grow_forest, "boosting": grow_boosted}[name]
    teaching, _ = run.parts
    return grow(teaching, classes=len(run.legend.classes), seed=run.recipe.seed).shares


def _write_maps(run: Run, ground: str, method: str, maps: AgreeingMaps) -> None:
    tags = {**run.provenance, "method": method}
    for gsd, shares in maps.shares.items():
        codes = run.legend.codes_of(maps.labels[gsd])
        write_shares(run.map_of(ground, method, "shares", gsd), shares, run.legend.names, tags)
        write_classes(
            run.map_of(ground, method, "classes", gsd), codes, shares.grid, run.legend, tags
        )
        for name in run.recipe.maps.legends if method == "attention" else ():
            other = translate(codes, run.legend.name, name)
            path = run.map_of(ground, method, name, gsd)
            write_classes(path, other, shares.grid, find_legend(name), tags)


def _score_cells(run: Run, method: str) -> CoverScores:
    """Of the likeliest class of each cell of the pivot."""
    found = []
    for name in run.testing:
        ground = read_ground(run.ground(name))
        codes, _ = read_classes(run.map_of(name, method, "classes", run.pivot_m))
        mapped = run.legend.indices_of(codes)
        parcels = parcels_of(ground.land_cover)
        found.append(
            confusions_by_parcel(ground.land_cover, mapped, parcels, len(run.legend.classes))
        )
    rng = np.random.default_rng(run.recipe.seed)
    return score_cover(np.concatenate(found), run.legend.names, rng)


def _share_errors(run: Run, method: str) -> dict[str, float]:
    """By pixel size, of the pivot and coarser, the mean over the grounds that test."""
    errors: dict[str, list[float]] = {}
    for name in run.testing:
        ground = read_ground(run.ground(name))
        classes = np.arange(len(run.legend.classes))[:, None, None]
        true = Shares.of((ground.land_cover == classes).astype(float), ground.grid)
        for gsd in run.gsds_m:
            if gsd >= run.pivot_m:
                told = read_shares(run.map_of(name, method, "shares", gsd))
                errors.setdefault(f"{gsd:g}", []).append(share_error(told, aggregate(true, gsd)))
    return {gsd: float(np.mean(of_grounds)) for gsd, of_grounds in errors.items()}


def _agreements(run: Run, method: str) -> dict[str, float]:
    """By pairs of pixel sizes, the mean over the grounds that test."""
    found: dict[str, list[float]] = {}
    for name in run.testing:
        labels = {
            gsd: read_classes(run.map_of(name, method, "classes", gsd))[0] for gsd in run.gsds_m
        }
        for (fine, coarse), same in agreement(labels).items():
            found.setdefault(f"{fine:g}-{coarse:g}", []).append(same)
    return {pair: float(np.mean(of_grounds)) for pair, of_grounds in found.items()}
