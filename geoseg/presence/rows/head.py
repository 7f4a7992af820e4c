"""A linear head on stored embeddings: that of a model, or a new one fitted to labels."""

from __future__ import annotations

import warnings
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import average_precision_score
from sklearn.model_selection import StratifiedGroupKFold

from geoseg.errors import ConfigError, LabelError, ModelError
from geoseg.files import write_json
from geoseg.models import read_tensors, write_tensors
from geoseg.presence.rows.store import blocks_of, index_rows, read_block, read_header

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from geoseg.presence.rows.quantise import Quantiser

__all__ = [
    "LabelledRows",
    "LinearHead",
    "check_head_path",
    "fit_head",
    "load_head",
    "read_labelled",
    "save_head",
]

_STRENGTHS = 10.0 ** np.arange(-4, 3)  # inverse of the L2 penalty, on standardised embeddings
_FOLDS = 5
_STEPS = 1000
_CHUNK = 8_192  # rows turned into float at once


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class LinearHead:
    """A logit of an embedding: weight . embedding + bias."""

    weight: NDArray[np.float32]  # (D,)
    bias: float
    embedder_sha256: str  # of the weights whose embeddings it reads
    record: Mapping[str, Any] = field(default_factory=dict)  # how it was fitted

    def logits(self, stored: NDArray[np.int8], quantiser: Quantiser) -> NDArray[np.float32]:
        """Of stored embeddings (N, D): (N,). Scale and offset go into the weights, not the rows."""
        weight, bias = quantiser.fold(self.weight, self.bias)
        out = np.empty(len(stored), dtype=np.float32)
        for first in range(0, len(stored), _CHUNK):
            part = slice(first, first + _CHUNK)
            out[part] = stored[part].astype(np.float32) @ weight
        return out + np.float32(bias)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class LabelledRows:
    """Images of places that somebody has looked at."""

    embeddings: NDArray[np.float32]  # (N, D)
    present: NDArray[np.bool_]  # (N,)
    cell: NDArray[np.uint64]  # (N,) the place
    block: NDArray[np.uint64]  # (N,) the block of places, some 20 km wide
    embedder_sha256: str
    found: NDArray[np.bool_]  # (M,) the labels at which a row lies


def read_labelled(
    folder: Path, lon: NDArray[np.float64], lat: NDArray[np.float64], present: NDArray[np.bool_]
) -> LabelledRows:
    """The rows of places with labels; only their blocks are read.

    Args:
        folder: of rows.
        lon: degrees (M,) of the labels: each goes to the place in whose cell it lies.
        lat: degrees (M,).
        present: what holds there (M,); a place with both is one with it.

    Raises:
        LabelError: there is no label, or no row lies at one.
        DataError: the folder holds no rows.
    """
    if not len(present):
        raise LabelError(
            "No label tells what a place holds and where it lies; fill in its column present, and "
            "chip_id, or lon and lat."
        )
    header = read_header(folder)
    cells = header.grid.cells_at(lon, lat)
    wanted, known_cells = np.unique(cells[present]), np.unique(cells)
    blocks = set(blocks_of(header.grid, known_cells).tolist())
    found = []
    groups = [group for group in index_rows(folder, header.grid) if group.block in blocks]
    for group in groups:
        rows = read_block([group])
        known = np.isin(rows.cell, known_cells)
        found.append((rows.cell[known], rows.stored[known]))
    cell = np.concatenate([c for c, _ in found]) if found else np.empty(0, dtype=np.uint64)
    if not len(cell):
        raise LabelError(f"No row of {folder} lies at a label; embed scenes that show them.")
    return LabelledRows(
        embeddings=header.quantiser.restore(np.concatenate([stored for _, stored in found])),
        present=np.isin(cell, wanted),
        cell=cell,
        block=blocks_of(header.grid, cell),
        embedder_sha256=header.embedder_sha256,
        found=np.isin(cells, cell),
    )


def fit_head(rows: LabelledRows) -> LinearHead:
    """Logistic regression with the L2 penalty that ranks best on blocks held out.

    A place counts once, however many images show it. The held-out folds are whole blocks of
    places, so that neighbours that look alike are not on both sides; where labels lie in fewer
    blocks than folds, they are places.

    Raises:
        LabelError: fewer than two places with and two without.
    """
    _, place, images = np.unique(rows.cell, return_inverse=True, return_counts=True)
    places = [len(np.unique(rows.cell[rows.present == kind])) for kind in (True, False)]
    if min(places) < 2:
        raise LabelError(
            f"A head needs places of both kinds, two at least; there are {places[0]} with and "
            f"{places[1]} without."
        )
    mean, spread = rows.embeddings.mean(axis=0), rows.embeddings.std(axis=0)
    spread = np.where(spread > 0, spread, 1)
    data = _Data((rows.embeddings - mean) / spread, rows.present, 1 / images[place])
    scores = _held_out(data, _groups(rows, min(places)), min(_FOLDS, *places))
    best = int(np.argmax(scores))
    fitted = _fitted(data, _STRENGTHS[best])
    weight = fitted.coef_[0] / spread
    return LinearHead(
        weight=weight.astype(np.float32),
        bias=float(fitted.intercept_[0] - weight @ mean),
        embedder_sha256=rows.embedder_sha256,
        record={
            "inverse_penalty": float(_STRENGTHS[best]),
            "average_precision": float(scores[best]),  # mean over held-out folds
            "places": {"present": places[0], "absent": places[1]},
        },
    )


def check_head_path(path: Path) -> None:
    """Refuse to write a head where it would replace anything but a head, such as a model.

    Raises:
        ConfigError: it does not end in .safetensors, or something else lies there.
    """
    if path.suffix != ".safetensors":
        raise ConfigError(f"{path} is no name of a head; let it end in '.safetensors'.")
    if not path.exists():
        return
    try:
        load_head(path)
    except ModelError as error:
        raise ConfigError(f"{path} is there and no head; name another file.") from error


def save_head(path: Path, head: LinearHead) -> None:
    """Write a head as `path` (.safetensors) and, for people, its header as .json beside.

    Raises:
        ConfigError: something that is no head lies there.
        OutputError: it cannot be written.
    """
    check_head_path(path)
    tensors = {"weight": torch.from_numpy(head.weight), "bias": torch.tensor([head.bias])}
    header = {"head": {"embedder_sha256": head.embedder_sha256}, "record": dict(head.record)}
    write_tensors(path, tensors, header)
    write_json(path.with_suffix(".json"), header)


def load_head(path: Path) -> LinearHead:
    """Read a head back.

    Raises:
        ModelError: no such file, or no head.
    """
    tensors, header = read_tensors(path)
    try:
        return LinearHead(
            weight=tensors["weight"].numpy(),
            bias=float(tensors["bias"]),
            embedder_sha256=header["head"]["embedder_sha256"],
            record=header["record"],
        )
    except KeyError as error:
        raise ModelError(f"{path} holds no head; make one with `geoseg presence head`.") from error


class _Data(NamedTuple):
    x: NDArray[np.float32]  # (N, D) standardised
    y: NDArray[np.bool_]  # (N,)
    weight: NDArray[np.float64]  # (N,)

    def part(self, which: NDArray[np.intp]) -> _Data:
        return _Data(self.x[which], self.y[which], self.weight[which])


def _groups(rows: LabelledRows, fewest: int) -> NDArray[np.uint64]:
    """What is held out together: blocks, where both kinds lie in enough of them."""
    blocks = [len(np.unique(rows.block[rows.present == kind])) for kind in (True, False)]
    return rows.block if min(blocks) >= min(_FOLDS, fewest) else rows.cell


def _held_out(data: _Data, groups: NDArray[np.uint64], folds: int) -> NDArray[np.float64]:
    """Average precision of each penalty, the mean over held-out folds that hold both kinds."""
    split = StratifiedGroupKFold(folds, shuffle=True, random_state=0).split(data.x, data.y, groups)
    scores = [
        [_score(_fitted(data.part(fit), strength), data.part(test)) for strength in _STRENGTHS]
        for fit, test in split
        if len(np.unique(data.y[fit])) == len(np.unique(data.y[test])) == 2
    ]
    if not scores:
        raise LabelError("No fold holds places of both kinds; label more of the rarer kind.")
    return np.asarray(np.mean(scores, axis=0))


def _fitted(data: _Data, strength: float) -> LogisticRegression:
    with warnings.catch_warnings():
        # Labels that a plane parts have no best weights; a thousand steps are near enough.
        warnings.simplefilter("ignore", ConvergenceWarning)
        model = LogisticRegression(C=strength, max_iter=_STEPS)
        return model.fit(data.x, data.y, sample_weight=data.weight)


def _score(model: LogisticRegression, data: _Data) -> float:
    found = model.decision_function(data.x)
    return float(average_precision_score(data.y, found, sample_weight=data.weight))
