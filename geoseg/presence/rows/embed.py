"""Scenes in, rows out: every place of a grid that a scene shows, as a few bytes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from rasterio.windows import Window

from geoseg.errors import ConfigError, DataError, GeosegError
from geoseg.files import plain_name
from geoseg.inference import SceneView, open_input
from geoseg.models import choose_device, load_classifier
from geoseg.presence.about import short
from geoseg.presence.rows.cut import parts_of
from geoseg.presence.rows.embedder import Embedder, chip_side_px, weights_sha256
from geoseg.presence.rows.grid import PlaceGrid
from geoseg.presence.rows.quantise import Quantiser
from geoseg.presence.rows.store import (
    RowsHeader,
    holds_rows,
    read_header,
    rows_folder,
    write_header,
)
from geoseg.presence.rows.unit import EmbedTask, embed_unit, enough_valid
from geoseg.scale import Ended, Failure, Manifest, Unit, inputs_hash, run_units

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from geoseg.models import ClassifierCheckpoint
    from geoseg.scale import Engine
    from geoseg.scenes import Scene

__all__ = ["EmbedJob", "Embedded", "embed_scenes"]

_SAMPLE = 512  # chips that the range of embeddings is taken from, in all
_SAMPLE_SCENES = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class EmbedJob:
    """What is to be embedded, and how."""

    model: Path
    scenes: tuple[Scene, ...]
    out: Path  # gets rows.json, rows/ and the record of what is done
    spacing_m: float = 320.0  # between places
    chip_m: float = 640.0  # side of what is looked at around each
    least_valid: float = 0.5  # share of a chip: below it there is no row
    device: str = "auto"
    batch: int = 256  # chips at once


@dataclass(frozen=True, slots=True, kw_only=True)
class Embedded:
    """What came of a job, this run and earlier ones together."""

    units: int
    skipped: int  # units that were done before
    rows: int
    without: int  # images of places with too little valid
    cut_off: int  # numbers of embeddings that did not fit into their byte
    seconds: dict[str, float]  # of the units: reading and decoding, cutting, network, writing
    failed: tuple[Failure, ...]


def embed_scenes(
    job: EmbedJob, *, engine: Engine, on_done: Callable[[int, int], None] | None = None
) -> Embedded:
    """Embed what is not embedded yet; a scene that fails is reported and passed over.

    Scenes may be added to the rows of earlier ones: the first run sets the grid of places and how
    embeddings are stored.

    Args:
        job: what to embed.
        engine: who does it.
        on_done: is told of units that ended, and of all.

    Raises:
        ConfigError: the rows that are there are of another model or of another grid, or two scenes
            would go to one file.
        DataError: no scene shows anything valid.
        ModelError: the model cannot be read.
    """
    _require_own_names(job.scenes)
    checkpoint = load_classifier(job.model)
    embedder = Embedder(checkpoint.classifier, choose_device(job.device))
    header = _header(job, checkpoint, embedder)
    units, broken = _plan(job, embedder, header)
    totals: dict[str, Any] = {"rows": 0, "without": 0, "cut_off": 0, "seconds": {}}
    ended = 0

    def count(end: Ended) -> None:
        nonlocal ended
        ended += 1
        if end.state != "failed":
            _add(totals, end.result)
        if on_done is not None:
            on_done(ended, len(units))

    with Manifest(job.out) as manifest:
        summary = run_units(embed_unit, units, engine=engine, manifest=manifest, on_done=count)
    return Embedded(
        units=summary.done + summary.skipped,
        skipped=summary.skipped,
        failed=(*broken, *summary.failed),
        **totals,
    )


def _header(job: EmbedJob, checkpoint: ClassifierCheckpoint, embedder: Embedder) -> RowsHeader:
    """That of the rows that are there, if they are of this job; else a new one, written."""
    embedder_sha256, head_sha256 = weights_sha256(checkpoint.classifier)
    if holds_rows(job.out):
        header = read_header(job.out)
        _require_same(job, header, embedder_sha256, head_sha256)
        return header
    _refuse_grid(job)
    header = RowsHeader(
        model_sha256=checkpoint.sha256,
        embedder_sha256=embedder_sha256,
        head_sha256=head_sha256,
        target=embedder.spec.target,
        spacing_m=job.spacing_m,
        chip_m=job.chip_m,
        least_valid=job.least_valid,
        quantiser=_fit_quantiser(job, embedder),
    )
    write_header(job.out, header)
    return header


def _refuse_grid(job: EmbedJob) -> None:
    """Refuse settings that make no rows."""
    PlaceGrid(job.spacing_m)
    if not job.chip_m > 0:
        raise ConfigError(f"--chip-m {job.chip_m} shows nothing; give the side of a chip in m.")
    if not 0 <= job.least_valid <= 1:
        raise ConfigError(f"--min-valid {job.least_valid} is no share; give 0 to 1.")
    if not job.scenes:
        raise ConfigError("There is no scene to embed; name one, or a catalogue with some.")


def _require_same(job: EmbedJob, header: RowsHeader, *weights: str) -> None:
    """Refuse to add rows that could not be compared with those that are there."""
    if weights != (header.embedder_sha256, header.head_sha256):
        raise ConfigError(
            f"{job.out} holds rows of another model ({short(header.model_sha256)}); give that one, "
            "or another folder."
        )
    for option, wanted, there in (
        ("--spacing-m", job.spacing_m, header.spacing_m),
        ("--chip-m", job.chip_m, header.chip_m),
        ("--min-valid", job.least_valid, header.least_valid),
    ):
        if wanted != there:
            raise ConfigError(
                f"{job.out} holds rows with {option} {there:g}, not {wanted:g}; give that, or "
                "another folder."
            )


def _fit_quantiser(job: EmbedJob, embedder: Embedder) -> Quantiser:
    """How embeddings are stored, from chips drawn at random on some of the scenes."""
    rng = np.random.default_rng(0)
    last = len(job.scenes) - 1
    chosen = np.unique(np.linspace(0, last, min(last + 1, _SAMPLE_SCENES)).astype(int))
    samples: list[NDArray[np.float32]] = []
    reasons = []
    for number in chosen:
        try:
            samples.append(
                _sample(job, job.scenes[number], embedder, -(-_SAMPLE // len(chosen)), rng)
            )
        except GeosegError as error:
            reasons.append(str(error))
    together = np.concatenate(samples) if samples else np.empty((0, 1), dtype=np.float32)
    if not len(together):
        raise DataError(
            "No scene shows anything valid at the places that were looked at; "
            f"{reasons[0] if reasons else 'check the masks and nodata values of the scenes.'}"
        )
    return Quantiser.fit(together)


def _sample(
    job: EmbedJob, scene: Scene, embedder: Embedder, count: int, rng: np.random.Generator
) -> NDArray[np.float32]:
    """Embeddings of chips of a scene, drawn at random; fewer where they are not valid."""
    with open_input(embedder.spec.input, scene) as reader:
        shown = SceneView.of(reader, embedder.spec.input, embedder.device)
        side = chip_side_px(reader, job.chip_m)
        height, width = reader.grid.shape
        tops, lefts = (rng.integers(-side // 2, n - side // 2, count) for n in (height, width))
        pixels = [
            reader.read(Window(int(x), int(y), side, side))
            for x, y in zip(lefts, tops, strict=True)
        ]
    valid = np.stack([part.valid for part in pixels])
    enough = enough_valid(valid, job.least_valid)
    if not enough.any():
        return np.empty((0, embedder.spec.width), dtype=np.float32)
    images = np.stack([part.image for part in pixels])
    return embedder(shown.show(images[enough], valid[enough]))[0]


def _plan(
    job: EmbedJob, embedder: Embedder, header: RowsHeader
) -> tuple[list[Unit], list[Failure]]:
    """The units of all scenes, and the scenes that cannot be opened."""
    units: list[Unit] = []
    broken = []
    for scene in job.scenes:
        try:
            with open_input(embedder.spec.input, scene) as reader:
                parts = parts_of(reader)
            state = _state(scene)
        except GeosegError as error:
            broken.append(Failure(scene.id, str(error), 1))
            continue
        for number, part in enumerate(parts):
            name = f"{_file_name(scene)}-{number}"
            output = rows_folder(job.out) / f"{name}.parquet"
            box = (part.col_off, part.row_off, part.width, part.height)
            task = EmbedTask(
                model=job.model,
                device=job.device,
                batch=job.batch,
                header=header,
                scene=scene,
                part=box,
                output=output,
            )
            units.append(Unit(name, task, output, inputs_hash([state, box])))
    return units, broken


def _state(scene: Scene) -> list[Any]:
    """What of a scene decides its rows: files by size and time, as to read all would take long."""
    assets = dict(scene.bands) if scene.mask is None else {**scene.bands, "mask": scene.mask}
    files = {asset.path.resolve() for asset in assets.values()}
    files |= set() if scene.dem is None else {scene.dem.resolve()}
    states = [(path, path.stat()) for path in sorted(files)]
    return [
        [scene.id, scene.sensor_id, scene.start.isoformat()],
        [[name, str(a.path.resolve()), a.index, a.nodata] for name, a in assets.items()],
        [[str(path), state.st_size, state.st_mtime_ns] for path, state in states],
    ]


def _file_name(scene: Scene) -> str:
    return plain_name(scene.id)


def _require_own_names(scenes: Sequence[Scene]) -> None:
    seen: set[str] = set()
    for scene in scenes:
        name = _file_name(scene).lower()  # some file systems know no capitals
        if name in seen:
            raise ConfigError(
                f"Two scenes go to the file {name!r}; give each scene an id of its own."
            )
        seen.add(name)


def _add(totals: dict[str, Any], result: dict[str, Any]) -> None:
    for key in ("rows", "without", "cut_off"):
        totals[key] += result[key]
    for kind, seconds in result["seconds"].items():
        totals["seconds"][kind] = totals["seconds"].get(kind, 0.0) + seconds
