"""`geoseg compare`: networks trained and scored over the same folds, step by step."""

from __future__ import annotations

from typing import TYPE_CHECKING

from geoseg.data import find_sources
from geoseg.evaluation import compare_units, make_plan, run_unit
from geoseg.files import write_json
from geoseg.models import choose_device, warning_of
from geoseg.report import write_comparison
from geoseg.report.held_out import map_differences
from geoseg.terminal import Outcome, Table, note, progress

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from geoseg.config import Recipe
    from geoseg.evaluation import Candidate, Comparison
    from geoseg.metrics.resampling import Interval

__all__ = ["as_interval", "as_outcome", "compare_models"]


def compare_models(
    recipe: Recipe,
    candidates: Sequence[Candidate],
    *,
    base: Path,
    folds: tuple[int, float | None, float | None],
    seeds: int,
    out: Path,
    device: str,
) -> Comparison:
    """Train what is not trained yet, compare all, and write the report into a folder.

    Args:
        recipe: the scenes and the training.
        candidates: the models, each with its loss.
        base: folder that relative paths of the recipe start from.
        folds: how many, width of a block and of its buffer in metres, None for the usual.
        seeds: trainings of each model on each fold.
        out: gets comparison.html, .png and .json, folds.json, and a folder a unit.
        device: auto, cpu or cuda.
    """
    sources = find_sources(recipe, base=base, work=out, on_step=note)
    for candidate in candidates:
        if (warning := warning_of(candidate.model)) is not None:
            note(f"{candidate.name}: {warning}")
    plan = make_plan(recipe, sources, candidates, folds=folds, seeds=seeds, folder=out)
    write_json(out / "folds.json", plan.folds.to_dict())
    results = []
    for number, unit in enumerate(plan.units, start=1):
        result = plan.result(unit)
        if result is None:
            with progress(f"Unit {number} of {len(plan.units)}") as advance:
                result = run_unit(plan, unit, device=choose_device(device), on_step=advance)
        results.append(result)
    planned = [unit.key for unit in plan.units]
    comparison = compare_units(results, plan.scheme, seed=recipe.seed, planned=planned)
    write_json(out / "comparison.json", comparison.to_dict())
    write_comparison(out, comparison, map_differences(plan))
    return comparison


def as_outcome(comparison: Comparison) -> Outcome:
    """What the command prints: a column for each model, the best first."""
    models = comparison.models
    first = models[0]
    scores = [
        ("mean IoU", *(as_interval(m.mean_iou) for m in models)),
        *((name, *(as_interval(m.per_class[name]) for m in models)) for name in first.per_class),
    ]
    sensors = [
        (name, *(as_interval(m.per_sensor[name].mean) for m in models)) for name in first.per_sensor
    ]
    costs = [
        ("training (s)", *(f"{m.cost.train_seconds:.0f}" for m in models)),
        ("mapping (s/Mpx)", *(f"{m.cost.predict_seconds_per_mpx:.1f}" for m in models)),
        ("parameters", *(f"{m.cost.parameters / 1e6:.1f} M" for m in models)),
        ("memory (MB)", *(f"{m.cost.peak_memory_mb:.0f}" for m in models)),
    ]
    names = tuple(m.model for m in models)
    title = f"IoU with 95 % interval over {comparison.blocks} blocks of held-out ground"
    tables = (
        Table(title, ("class", *names), scores),
        Table("Mean IoU by sensor", ("sensor", *names), sensors),
        Table("Cost of a unit", ("", *names), costs),
    )
    return Outcome(comparison.to_dict(), tables)


def as_interval(interval: Interval) -> str:
    """A value, and its interval in brackets."""
    return f"{interval.value:.3f} ({interval.low:.2f}-{interval.high:.2f})"
