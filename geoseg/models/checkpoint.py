"""Networks on disk: one safetensors file whose header says how to build the network again."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file

from geoseg.errors import ModelError
from geoseg.files import sha256_of, write_json, writing
from geoseg.labels import ClassScheme, MapClass
from geoseg.models.network import (
    AnyInput,
    FixedInput,
    ModelSpec,
    Segmenter,
    build_segmenter,
)
from geoseg.sensors import Band

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from torch import Tensor

__all__ = [
    "UNFIT",
    "Checkpoint",
    "does_not_fit",
    "input_of",
    "load_checkpoint",
    "read_tensors",
    "save_checkpoint",
    "shared_checkpoints",
    "write_tensors",
]

_HEADER = "geoseg"
_MOST_BANDS = 1024  # of a hyperspectral instrument there are some hundred
# What a network that is built by a header of whatever values may end in, and its tensors not fit.
UNFIT = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    LookupError,
    MemoryError,
    NotImplementedError,
    RuntimeError,
    TypeError,
    ValueError,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    """A network as it was read, with what was recorded of its making."""

    segmenter: Segmenter
    sha256: str  # of the file: the identity of the model
    record: Mapping[str, Any]  # recipe hash, data hashes, version, scores


def save_checkpoint(path: Path, segmenter: Segmenter, record: Mapping[str, Any]) -> None:
    """Write a network as `path` (.safetensors) and, for people, its header as .json beside it.

    Raises:
        ModelError: it was adopted, and no name says how to build it again.
    """
    if not segmenter.spec.encoder:
        raise ModelError(
            f"{segmenter.spec.architecture} was adopted and cannot be built again from a "
            "checkpoint; keep its own weights and adopt it again, or load them into the network "
            "of build_segmenter."
        )
    header = {"spec": asdict(segmenter.spec), "record": dict(record)}
    write_tensors(path, segmenter.state_dict(), header)
    write_json(path.with_suffix(".json"), header)


def load_checkpoint(path: Path) -> Checkpoint:
    """Read a network back, on the CPU and ready to predict.

    Raises:
        ModelError: no such file, not a checkpoint of geoseg, or damaged.
    """
    tensors, header = read_tensors(path)
    if "classifier" in header:
        raise ModelError(
            f"{path} says of chips whether something is in them and maps nothing; give it to "
            "`geoseg presence predict`."
        )
    try:
        spec = _spec(header["spec"])
        segmenter = build_segmenter(spec)
        segmenter.load_state_dict(tensors)
    except UNFIT as error:
        raise does_not_fit(path, error) from error
    return Checkpoint(
        segmenter=segmenter.eval(), sha256=sha256_of(path), record=header.get("record", {})
    )


def shared_checkpoints(
    paths: Sequence[Path], sha256: Sequence[str] | None = None
) -> tuple[Checkpoint, ...]:
    """Networks that a process reads once, for all in it that map with them and change none.

    The last ones asked for are kept, as long as their files stay what they are.

    Args:
        paths: of the checkpoints.
        sha256: what the files were when the work began; what they are now where not given.

    Raises:
        ModelError: of `load_checkpoint`, or a file is another by now.
    """
    known = [_sha256_of(path) for path in paths] if sha256 is None else sha256
    return _shared(tuple(path.absolute() for path in paths), tuple(known))


@lru_cache(maxsize=1)
def _shared(paths: tuple[Path, ...], sha256: tuple[str, ...]) -> tuple[Checkpoint, ...]:
    found = tuple(load_checkpoint(path) for path in paths)
    for path, checkpoint, known in zip(paths, found, sha256, strict=True):
        if checkpoint.sha256 != known:
            raise ModelError(f"{path} was changed while it was used; run again.")
    return found


def _sha256_of(path: Path) -> str:
    _require_there(path)
    return sha256_of(path)


def write_tensors(path: Path, tensors: Mapping[str, Tensor], header: Mapping[str, Any]) -> None:
    """Write tensors and a JSON header as one safetensors file, whole or not at all."""
    whole = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    with writing(path) as aside:
        save_file(whole, aside, metadata={_HEADER: json.dumps(header)})


def read_tensors(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Tensors and JSON header of a file of `write_tensors`.

    Raises:
        ModelError: no such file, or not one of geoseg's.
    """
    _require_there(path)
    try:
        with safe_open(path, framework="pt") as file:
            header = json.loads((file.metadata() or {})[_HEADER])
        if not isinstance(header, dict):
            raise ValueError("its header is no JSON object")
        return load_file(path), header
    except (SafetensorError, KeyError, ValueError, RecursionError) as error:
        raise ModelError(
            f"{path} is not a checkpoint of geoseg or is damaged ({error}); "
            "give the model.safetensors of a training."
        ) from error


def _require_there(path: Path) -> None:
    if not path.is_file():
        raise ModelError(f"{path} does not exist; train a model or give the path of one.")


def does_not_fit(path: Path, error: Exception) -> ModelError:
    """The refusal of tensors and a header that do not go together."""
    told = str(error).rstrip(".")
    return ModelError(
        f"{path} does not hold the network that it describes ({told}); train it again."
    )


def _spec(fields: Mapping[str, Any]) -> ModelSpec:
    classes = tuple(MapClass(**c) for c in fields["scheme"]["classes"])
    return ModelSpec(
        architecture=fields["architecture"],
        encoder=fields["encoder"],
        input=input_of(fields["input"]),
        scheme=ClassScheme(classes),
        prior=tuple(fields["prior"]),
    )


def input_of(fields: Mapping[str, Any]) -> FixedInput | AnyInput:
    """What a network takes, from the header of its checkpoint."""
    if "seen" in fields:
        finest, coarsest = fields["gsd_m"]
        return AnyInput(
            seen=tuple(Band(**band) for band in fields["seen"]), gsd_m=(finest, coarsest)
        )
    if len(fields["bands"]) > _MOST_BANDS:
        raise ModelError(
            f"Its network takes {len(fields['bands'])} bands; one of geoseg takes {_MOST_BANDS} at "
            "most."
        )
    return FixedInput(
        bands=tuple(fields["bands"]), mean=tuple(fields["mean"]), std=tuple(fields["std"])
    )
