"""What a pool is made of: a pack, rows of embeddings, or a table."""

from __future__ import annotations

import json
import shutil
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NamedTuple

from geoseg.active.folder import pool_folder
from geoseg.active.pool import Pool, holds_pool, open_pool, write_pool
from geoseg.active.source_pack import PackJob, batches_of_pack, embed_pack
from geoseg.active.source_rows import batches_of_rows, digest_of_all_rows, width_of_rows
from geoseg.active.source_table import batches_of_table, columns_of_table
from geoseg.errors import ConfigError, DataError
from geoseg.files import sha256_of, write_json
from geoseg.presence.about import short
from geoseg.presence.packs import Problem, read_pack
from geoseg.presence.rows.store import holds_rows, read_header

if TYPE_CHECKING:
    from collections.abc import Callable

    from geoseg.scale import Engine

__all__ = [
    "Filled",
    "Source",
    "chip_side_m",
    "fill_pool",
    "is_source_of",
    "read_source",
    "source_of",
]

Kind = Literal["pack", "rows", "table"]

_FILE = "source.json"
_FORMAT = 1
_NO_EMBEDDING = "it has no embedding."


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """What a pool is made of; it is kept beside the pool."""

    kind: Kind
    path: str  # absolute
    digest: str  # of its content
    model: str = ""  # the classifier that embedded a pack; '' for statistics of pixels
    model_sha256: str = ""

    def __str__(self) -> str:
        """As it is told."""
        if self.kind != "pack":
            return f"{self.kind} {self.path}"
        by = f"model {short(self.model_sha256)}" if self.model else "colours and textures"
        return f"pack {self.path} by {by}"


class Filled(NamedTuple):
    """A pool, and what of its source is not in it."""

    pool: Pool
    problems: list[Problem]


def source_of(kind: Kind, path: Path, model: Path | None = None) -> Source:
    """What lies somewhere, to be made a pool of.

    Args:
        kind: of thing.
        path: of a pack, of rows, or of a table.
        model: to embed a pack by.

    Raises:
        ConfigError: a model for what has embeddings already.
        DataError: it is not there, or cannot be read.
    """
    if model is not None and kind != "pack":
        raise ConfigError(f"The {kind} {path} holds embeddings already; leave --model out.")
    if model is not None and not model.is_file():
        raise ConfigError(f"{model} is no file; give the model.safetensors of a classifier.")
    if kind == "table" and not path.is_file():
        raise DataError(f"{path} is no file; give a table of embeddings.")
    digest = {
        "pack": lambda: read_pack(path).digest,
        "rows": lambda: digest_of_all_rows(path),
        "table": lambda: sha256_of(path),
    }[kind]()
    return Source(
        kind=kind,
        path=str(path.resolve()),
        digest=digest,
        model="" if model is None else str(model.resolve()),
        model_sha256="" if model is None else sha256_of(model),
    )


def read_source(folder: Path) -> Source:
    """What the pool of a project was made of.

    Raises:
        DataError: it is not recorded, or damaged.
    """
    path = folder / _FILE
    try:
        fields = json.loads(path.read_text(encoding="utf-8"))
        if fields.pop("format") == _FORMAT:
            return Source(**fields)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise DataError(f"{path} cannot be read ({error}); run `geoseg active init`.") from error
    raise DataError(f"{path} was written by another version of geoseg; use that one.")


def chip_side_m(folder: Path) -> float | None:
    """Side of the square of ground that an item of a project shows; None where it is not known."""
    source = read_source(folder)
    if source.kind != "rows" or not holds_rows(Path(source.path)):
        return None
    return read_header(Path(source.path)).chip_m


def fill_pool(
    folder: Path,
    source: Source,
    engine: Engine,
    *,
    device: str = "auto",
    on_part: Callable[[int, int], None] = lambda _done, _total: None,
) -> Filled:
    """The pool of a project, made where it is not there yet; a pack is gone on with.

    Args:
        folder: of the project.
        source: what it is made of.
        engine: who embeds a pack.
        device: that a classifier computes on.
        on_part: is told of shards, blocks or rows that are done, and of how many there are.

    Raises:
        GeosegError: the source cannot be used; what was made of a pack is kept for the next run.
    """
    pool = pool_folder(folder)
    told = folder / _FILE
    same = is_source_of(folder, source)
    if same and holds_pool(pool):
        return Filled(open_pool(pool), [])
    if not same:
        # A pool of something else must not be taken for this one's.
        told.unlink(missing_ok=True)
    made = _of_pack(folder, source, engine, device, on_part) if source.kind == "pack" else None
    filled = made or _of_embeddings(pool, source, on_part)
    if not len(filled.pool):
        raise DataError(f"The {source} holds no item with an embedding; give another one.")
    write_json(told, {"format": _FORMAT, **asdict(source)})
    shutil.rmtree(_aside(folder), ignore_errors=True)
    return filled


def is_source_of(folder: Path, source: Source) -> bool:
    """Whether the pool of a project was made of something, wherever that lies.

    Raises:
        DataError: what is recorded of it is damaged.
    """
    if not (folder / _FILE).is_file():
        return False
    return _identity(read_source(folder)) == _identity(source)


def _identity(source: Source) -> tuple[str, str, str]:
    return source.kind, source.digest, source.model_sha256


def _of_pack(
    folder: Path, source: Source, engine: Engine, device: str, on_part: Callable[[int, int], None]
) -> Filled:
    model = Path(source.model) if source.model else None
    job = PackJob(pack=Path(source.path), model=model, sha256=source.model_sha256, device=device)
    embedded = embed_pack(job, _aside(folder), engine, on_part)
    batches = batches_of_pack(job.pack, _aside(folder), standard=model is None)
    pool = write_pool(
        pool_folder(folder),
        batches,
        width=embedded.width,
        source=str(source),
        count=embedded.items,
    )
    return Filled(pool, embedded.problems)


def _of_embeddings(pool: Path, source: Source, on_part: Callable[[int, int], None]) -> Filled:
    path, problems = Path(source.path), list[Problem]()
    if source.kind == "rows":
        batches, width = batches_of_rows(path, on_part), width_of_rows(path)
    else:
        columns = columns_of_table(path)
        batches = batches_of_table(
            path, columns, on_part, lambda item: problems.append(Problem(item, _NO_EMBEDDING))
        )
        width = columns.width
    return Filled(write_pool(pool, batches, width=width, source=str(source)), problems)


def _aside(folder: Path) -> Path:
    """Where shards of a pack lie until the pool is written."""
    return folder / "embedding"
