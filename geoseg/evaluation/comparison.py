"""Several models, trained and tested on the same ground, against each other.

The unit of work is one model, tested on one spatial fold, trained with one seed. The unit of
evidence is a block of ground: its matrices of several seeds are averaged and those of several
scenes summed, so that neither training nor imaging a place again passes for more places.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import asdict, dataclass
from itertools import combinations, product
from operator import attrgetter
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray
from pydantic import BeforeValidator, PlainSerializer, PlainValidator, TypeAdapter, ValidationError

from geoseg.errors import ConfigError, DataError
from geoseg.files import without_nan, write_json
from geoseg.metrics.resampling import (
    BlockScores,
    Interval,
    PairedDifference,
    bootstrap_scores,
    compare_paired,
    holm,
    mean_iou,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
    from pathlib import Path

    from geoseg.labels import ClassScheme

__all__ = [
    "BlockConfusion",
    "Comparison",
    "Cost",
    "ModelScores",
    "PairScores",
    "UnitKey",
    "UnitResult",
    "compare_units",
    "read_unit",
    "write_unit",
]

# Film; the first Landsat and SPOT; ETM+ and ASTER; Sentinel-2 and Landsat 8 together.
_ERAS = (
    (1980, "before 1980"),
    (2000, "1980-1999"),
    (2015, "2000-2014"),
    (float("inf"), "2015 and later"),
)
_GSDS_M = (
    (5, "below 5 m"),
    (15, "5 to 15 m"),
    (40, "15 to 40 m"),
    (float("inf"), "40 m and more"),
)

# JSON has no NaN and files hold null for it.
_Float = Annotated[float, BeforeValidator(lambda value: float("nan") if value is None else value)]
_Matrix = Annotated[
    NDArray[np.int64],
    PlainValidator(lambda rows: np.array(rows, dtype=np.int64)),
    PlainSerializer(lambda matrix: matrix.tolist()),
]


class UnitKey(NamedTuple):
    """Which unit of a comparison."""

    model: str
    fold: int
    seed: int


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)  # matrices have no one equality
class BlockConfusion:
    """How one block of ground was mapped in one scene.

    **Convention:** a block has the same number in every scene, model and seed, and no two blocks
    of ground share one. Rows are the truth, columns the map.
    """

    scene: str
    sensor: str
    year: int
    gsd_m: float
    block: int
    confusion: _Matrix  # (K, K) pixels

    def __post_init__(self) -> None:
        shape = self.confusion.shape
        if len(shape) != 2 or shape[0] != shape[1] or self.confusion.min(initial=0) < 0:
            raise ConfigError(
                f"The confusion matrix of block {self.block} in scene {self.scene!r} is "
                f"{self.confusion.tolist()}; give as many rows as columns, of pixel counts."
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """What a unit took; NaN where it was not measured."""

    train_seconds: _Float
    predict_seconds_per_mpx: _Float  # a million pixels
    parameters: int
    trained_parameters: int  # those of a frozen backbone are not
    peak_memory_mb: _Float  # 10^6 bytes, of a GPU or else of the process
    device: str


@dataclass(frozen=True, slots=True, kw_only=True)
class UnitResult:
    """One model, trained with one seed without one fold, and tested on that fold."""

    model: str
    fold: int
    seed: int
    scores: tuple[BlockConfusion, ...]
    cost: Cost

    @property
    def key(self) -> UnitKey:
        """Which unit this is."""
        return UnitKey(self.model, self.fold, self.seed)


_UNIT = TypeAdapter(UnitResult)


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelScores:
    """How well one model maps, over the blocks that all models were tested on.

    The ground, class 0, is in no mean and no table.
    """

    model: str
    mean_iou: Interval
    seed_std: float  # of the mean IoU of single seeds; NaN with fewer than two complete seeds
    per_class: Mapping[str, Interval]
    per_sensor: Mapping[str, BlockScores]
    per_era: Mapping[str, BlockScores]
    per_gsd: Mapping[str, BlockScores]
    cost: Cost  # medians over units, of the memory the highest

    def to_dict(self) -> dict[str, Any]:
        """The scores in types that JSON holds, NaN aside."""
        groups = {"sensor": self.per_sensor, "era": self.per_era, "gsd": self.per_gsd}
        return {
            "model": self.model,
            **_fields("mean_iou", self.mean_iou),
            "seed_std": self.seed_std,
            "per_class": {name: _fields("iou", iou) for name, iou in self.per_class.items()},
            **{
                f"per_{by}": {
                    name: {**_fields("mean_iou", scores.mean), "blocks": scores.blocks}
                    for name, scores in table.items()
                }
                for by, table in groups.items()
            },
            "cost": asdict(self.cost),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class PairScores:
    """By how much the mean IoU of a first model is above that of a second."""

    first: str
    second: str
    paired: PairedDifference
    p_holm: float  # corrected for the number of pairs

    def to_dict(self) -> dict[str, Any]:
        """The difference in types that JSON holds, NaN aside."""
        return {
            "first": self.first,
            "second": self.second,
            **_fields("difference", self.paired.difference),
            "p": self.paired.p_value,
            "p_holm": self.p_holm,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """Models on the same blocks of ground, the best first, and every pair of them."""

    scheme: ClassScheme
    models: tuple[ModelScores, ...]
    pairs: tuple[PairScores, ...]
    done: int  # units
    missing: tuple[UnitKey, ...]
    blocks: int
    left_out: int  # blocks that some model was not tested on, or not on the same pixels

    def to_dict(self) -> dict[str, Any]:
        """The comparison as JSON holds it: null for NaN. The names are stable."""
        found = {
            "models": [scores.to_dict() for scores in self.models],
            "pairs": [pair.to_dict() for pair in self.pairs],
            "units": {"done": self.done, "missing": [key._asdict() for key in self.missing]},
            "blocks": self.blocks,
            "blocks_left_out": self.left_out,
        }
        return {name: without_nan(value) for name, value in found.items()}


def write_unit(path: Path, result: UnitResult) -> None:
    """Write a finished unit as JSON, whole or not at all.

    Raises:
        OutputError: the file cannot be written.
    """
    write_json(path, _UNIT.dump_python(result))


def read_unit(path: Path) -> UnitResult:
    """The unit that `write_unit` wrote.

    Raises:
        DataError: there is no such file, or it holds no finished unit.
    """
    try:
        return _UNIT.validate_json(path.read_bytes())
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}.") from error
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or "file"
        raise DataError(
            f"{path} holds no finished unit of a comparison ({where}: {first['msg']}); delete it "
            "and run the comparison again."
        ) from error


def compare_units(
    units: Iterable[UnitResult],
    scheme: ClassScheme,
    *,
    seed: int,
    planned: Collection[UnitKey] | None = None,
) -> Comparison:
    """Compare models over the blocks that all of them were tested on, in the same pixels.

    Args:
        units: the finished ones, in any order.
        scheme: the classes of the matrices.
        seed: draws the blocks of intervals and tests; the same ones for every model.
        planned: the units that were to be; by default each model met, with each fold and seed met.

    Raises:
        ConfigError: no unit is finished, one holds other classes, or ground was scored twice.
    """
    units = sorted(units, key=attrgetter("key"))
    if not units:
        raise ConfigError("No unit of the comparison is finished; run it before it is reported.")
    scored = _scored(units, len(scheme.classes))
    cells, left_out = _shared(scored.values())
    models = sorted(
        (
            _score_model(name, scored[name], cells, scheme, seed=seed, units=units)
            for name in scored
        ),
        key=lambda scores: -np.nan_to_num(scores.mean_iou.value, nan=-1),
    )
    blocks = {name: _by_block(own, cells, len(scheme.classes)) for name, own in scored.items()}
    return Comparison(
        scheme=scheme,
        models=tuple(models),
        pairs=_compare_pairs([m.model for m in models], blocks, seed),
        done=len(units),
        missing=tuple(sorted(_planned(units, planned) - {unit.key for unit in units})),
        blocks=len({cell.block for cell in cells}),
        left_out=left_out,
    )


class _Cell(NamedTuple):
    """A block of ground in a scene."""

    block: int
    scene: str
    sensor: str
    year: int
    gsd_m: float


# The matrices (K, K) of one model by seed.
_Scored: TypeAlias = "Mapping[_Cell, Mapping[int, NDArray[np.int64]]]"


def _scored(units: Iterable[UnitResult], classes: int) -> Mapping[str, _Scored]:
    """What was scored, by model."""
    scored: dict[str, dict[_Cell, dict[int, NDArray[np.int64]]]] = {}
    for unit in units:
        cells = scored.setdefault(unit.model, {})
        for s in unit.scores:
            seeds = cells.setdefault(_Cell(s.block, s.scene, s.sensor, s.year, s.gsd_m), {})
            where = f"block {s.block} of scene {s.scene!r} in the unit {_words(unit.key)}"
            if len(s.confusion) != classes:
                raise ConfigError(
                    f"The confusion matrix of {where} has {len(s.confusion)} classes and the "
                    f"scheme has {classes}; compare units of one class scheme."
                )
            if unit.seed in seeds:
                raise ConfigError(
                    f"There are two confusion matrices of {where}; give each unit once, and "
                    "folds that do not overlap."
                )
            seeds[unit.seed] = s.confusion
    return scored


def _words(key: UnitKey) -> str:
    return f"{key.model}, fold {key.fold}, seed {key.seed}"


def _shared(models: Collection[_Scored]) -> tuple[list[_Cell], int]:
    """The cells of blocks that are the same in all models, in order; how many blocks are not.

    A block is taken with all its scenes or not at all: with one scene less for one model, another
    ground truth would be compared.
    """
    every = {cell for own in models for cell in own}
    unlike = {
        cell.block
        for cell in every
        if any(cell not in own for own in models)
        or len({tuple(m.sum(axis=1)) for own in models for m in own[cell].values()}) > 1
    }
    return sorted(cell for cell in every if cell.block not in unlike), len(unlike)


def _score_model(
    name: str,
    scored: _Scored,
    cells: Sequence[_Cell],
    scheme: ClassScheme,
    *,
    seed: int,
    units: Iterable[UnitResult],
) -> ModelScores:
    def scores(of: Sequence[_Cell]) -> BlockScores:
        return bootstrap_scores(
            _by_block(scored, of, len(scheme.classes)), np.random.default_rng(seed)
        )

    def by(value: str, word: Callable[[Any], str]) -> dict[str, BlockScores]:
        groups = _grouped(cells, attrgetter(value), word)
        return {group: scores(own) for group, own in groups.items()}

    overall = scores(cells)
    return ModelScores(
        model=name,
        mean_iou=overall.mean,
        seed_std=_seed_std(scored, cells),
        per_class=dict(zip(scheme.names[1:], overall.classes[1:], strict=True)),
        per_sensor=by("sensor", str),
        per_era=by("year", lambda year: _below(year, _ERAS)),
        per_gsd=by("gsd_m", lambda gsd_m: _below(gsd_m, _GSDS_M)),
        cost=_cost([unit.cost for unit in units if unit.model == name]),
    )


def _by_block(scored: _Scored, cells: Sequence[_Cell], classes: int) -> NDArray[np.float64]:
    """Matrices (B, K, K) of the blocks in order: the mean over seeds, the sum over scenes."""
    blocks = {block: i for i, block in enumerate(sorted({cell.block for cell in cells}))}
    out = np.zeros((len(blocks), classes, classes))
    for cell in cells:
        out[blocks[cell.block]] += np.mean(list(scored[cell].values()), axis=0)
    return out


def _grouped(
    cells: Iterable[_Cell], value: Callable[[_Cell], Any], word: Callable[[Any], str]
) -> dict[str, list[_Cell]]:
    """The cells by the word for their value, groups in the order of values."""
    groups = defaultdict(list)
    for cell in sorted(cells, key=value):
        groups[word(value(cell))].append(cell)
    return groups


def _below(value: float, ends: Sequence[tuple[float, str]]) -> str:
    return next(name for end, name in ends if value < end)


def _seed_std(scored: _Scored, cells: Sequence[_Cell]) -> float:
    """Spread of the mean IoU over the seeds that were tested on every cell."""
    complete = set.intersection(*(set(scored[cell]) for cell in cells)) if cells else set()
    if len(complete) < 2:
        return float("nan")
    iou = [
        mean_iou(np.sum([scored[cell][seed] for cell in cells], axis=0))
        for seed in sorted(complete)
    ]
    return float(np.std(iou, ddof=1))


def _cost(costs: Sequence[Cost]) -> Cost:
    return Cost(
        train_seconds=_median([c.train_seconds for c in costs]),
        predict_seconds_per_mpx=_median([c.predict_seconds_per_mpx for c in costs]),
        parameters=max(c.parameters for c in costs),
        trained_parameters=max(c.trained_parameters for c in costs),
        peak_memory_mb=float(np.max([c.peak_memory_mb for c in costs])),
        device=", ".join(sorted({c.device for c in costs})),
    )


def _median(values: Sequence[float]) -> float:
    """Of those that were measured: a unit that was resumed at its end has no time of training."""
    measured = [value for value in values if np.isfinite(value)]
    return float(np.median(measured)) if measured else float("nan")


def _compare_pairs(
    names: Sequence[str], blocks: Mapping[str, NDArray[np.float64]], seed: int
) -> tuple[PairScores, ...]:
    pairs = [
        (first, second, compare_paired(blocks[first], blocks[second], np.random.default_rng(seed)))
        for first, second in combinations(names, 2)
    ]
    corrected = holm([paired.p_value for _, _, paired in pairs])
    return tuple(
        PairScores(first=first, second=second, paired=paired, p_holm=p)
        for (first, second, paired), p in zip(pairs, corrected, strict=True)
    )


def _planned(units: Sequence[UnitResult], planned: Collection[UnitKey] | None) -> set[UnitKey]:
    if planned is not None:
        return set(planned)
    met = ({getattr(unit, part) for unit in units} for part in UnitKey._fields)
    return {UnitKey(*parts) for parts in product(*met)}


def _fields(name: str, interval: Interval) -> dict[str, float]:
    return {name: interval.value, "low": interval.low, "high": interval.high}
