"""Places through a classifier: read ahead, in batches of one shape, in their order again."""

from __future__ import annotations

from collections import defaultdict, deque
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch

from geoseg.chips import Place, stack_places
from geoseg.errors import ModelError
from geoseg.metrics.calibration import Calibration
from geoseg.models import FixedInput
from geoseg.presence.ahead import Ahead
from geoseg.presence.evidence import require_share
from geoseg.presence.packs import Problem
from geoseg.presence.results import Result

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    from geoseg.chips import Chip, PlaceBatch
    from geoseg.models.classifier import Classifier
    from geoseg.sensors import Band

__all__ = ["Ready", "Verdict", "batches_of", "fit_places", "in_image_order", "only_sensor", "score"]

_AHEAD = 2  # batches that wait for the network
_MOST_VALUES = 2**24  # of a batch: 64 MiB as float32
_WAITING = 4  # times the size of a batch that may wait for others of their shape


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """From logits to probabilities and decisions, as the record of a model says."""

    calibration: Calibration | None  # a sigmoid when None
    threshold: float  # of the calibrated probability where the model was calibrated
    prevalence: float | None = None  # where it is used; that of the held-out places when None

    @classmethod
    def of(cls, record: Mapping[str, Any], prevalence: float | None = None) -> Verdict:
        """That of a checkpoint.

        Args:
            record: of the checkpoint.
            prevalence: share of places that hold it, above 0 and below 1; when None the one that
                the model was calibrated for, and without one that of the held-out places.

        Raises:
            ConfigError: a prevalence that is none.
            ModelError: a prevalence without a calibration, which it would correct, or a record that
                cannot be read.
        """
        calibration = record.get("calibration")
        if calibration is None and prevalence is not None:
            raise ModelError(
                "The model is not calibrated, so a prevalence cannot correct it; leave "
                "--prevalence out, or calibrate it on held-out chips."
            )
        if calibration is not None and prevalence is None:
            prevalence = record.get("prevalence")
        if prevalence is not None:
            require_share("The prevalence", prevalence)
        threshold = (record.get("threshold") or {}).get("threshold", 0.5)
        return cls(
            calibration=None if calibration is None else Calibration.from_dict(calibration),
            threshold=float(threshold),
            prevalence=prevalence,
        )

    def __call__(
        self, logits: NDArray[np.float64], sensor_ids: list[str | None]
    ) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
        """Probabilities (N,) at the prevalence, and decisions (N,).

        The decision does not change with prevalence: the threshold stands for a recall, which does
        not either.
        """
        if self.calibration is None:
            probability = 1 / (1 + np.exp(-logits))
            return probability, probability >= self.threshold
        decided = self.calibration.probability(logits, sensor_ids) >= self.threshold
        return self.calibration.probability(logits, sensor_ids, self.prevalence), decided


class Ready(NamedTuple):
    """A batch on its way to the network."""

    numbers: list[int]  # of its places in the shard
    places: list[Place]
    batch: PlaceBatch


def score(
    places: Iterable[Place | Problem],
    classifier: Classifier,
    verdict: Verdict,
    *,
    device: torch.device,
    most_images: int = 128,
    on_problem: Callable[[Problem], None],
) -> list[Result]:
    """What a classifier says of places, in their order.

    They are read, decoded and stacked in a thread, while the network is at work. A place is left
    out as a problem where an image lacks a band of a network for fixed bands. What is not needed
    of an image is dropped, what is in another order is reordered. Of a place without a valid pixel
    nothing is said: unknown is not absent.

    Args:
        places: of one shard; their results are held in memory.
        classifier: in evaluation mode, on the device.
        verdict: what logits mean.
        device: where it computes.
        most_images: of a batch; fewer of large ones.
        on_problem: is told of what is left out.

    Raises:
        ModelError: the network gives numbers that are not finite.
        GeosegError: what the places raise.
    """
    found: list[tuple[int, Result]] = []
    ready = batches_of(fit_places(places, classifier, on_problem), most_images)
    with torch.inference_mode(), Ahead(ready, most=_AHEAD) as batches:
        for batch in batches:
            found += zip(batch.numbers, _results(batch, classifier, verdict, device), strict=True)
    found.sort(key=lambda pair: pair[0])
    return [result for _, result in found]


def _results(
    ready: Ready, classifier: Classifier, verdict: Verdict, device: torch.device
) -> list[Result]:
    batch = ready.batch.to(device)
    said = classifier([b.view() for b in batch.batches], batch.owners, batch.size)
    logits = said.places.double().cpu().numpy()
    image_logits = [found.double().cpu().tolist() for found in said.images]
    shares = [b.valid.flatten(1).float().mean(dim=1).cpu().tolist() for b in batch.batches]
    per_image = _by_place(ready, image_logits, shares)
    seen = np.array([any(share > 0 for _, share in images) for images in per_image])
    if not np.isfinite(logits[seen]).all():
        raise ModelError("The network gives numbers that are not finite; train it again.")
    sensors = [only_sensor(place) for place in ready.places]
    probability, decided = verdict(logits, sensors)
    return [
        Result(
            id=place.id,
            lon=place.lon,
            lat=place.lat,
            present=place.present,
            times=tuple(image.time for image in place.images),
            years=years,
            sensors=tuple(image.sensor_id for image in place.images),
            image_logits=tuple(logit if share > 0 else None for logit, share in images),
            image_valid=tuple(share for _, share in images),
            logit=float(logits[n]) if seen[n] else None,
            probability=float(probability[n]) if seen[n] else None,
            decision=bool(decided[n]) if seen[n] else None,
        )
        for n, (place, images, years) in enumerate(
            zip(ready.places, per_image, _years(ready), strict=True)
        )
    ]


def _by_place(
    ready: Ready, logits: list[list[float]], shares: list[list[float]]
) -> list[list[tuple[float, float]]]:
    """Logit and valid share of the images of each place, in the order of its images."""
    values = [list(zip(*group, strict=True)) for group in zip(logits, shares, strict=True)]
    return in_image_order(ready.places, values)


def _years(ready: Ready) -> list[tuple[float, ...]]:
    found = in_image_order(ready.places, [years.tolist() for years in ready.batch.years])
    return [tuple(years) for years in found]


def in_image_order(places: Sequence[Place], values: Sequence[Sequence[Any]]) -> list[list[Any]]:
    """Values of images as lists of each place in the order of its images.

    `stack_places` groups images by what they are and keeps their order within a group.

    Args:
        places: that were stacked.
        values: for each batch of them, one of each image.
    """
    groups: dict[tuple[object, ...], deque[Any]] = {}
    for place in places:
        for image in place.images:
            if (key := _shape(image)) not in groups:
                groups[key] = deque(values[len(groups)])
    return [[groups[_shape(image)].popleft() for image in p.images] for p in places]


def _shape(image: Chip) -> tuple[object, ...]:
    return (image.bands, *image.image.shape[-2:], image.palette.shape[-1])


def only_sensor(place: Place) -> str | None:
    """The sensor of a place, where there is one alone."""
    sensors = {image.sensor_id for image in place.images}
    return next(iter(sensors)) if len(sensors) == 1 else None


def fit_places(
    places: Iterable[Place | Problem],
    classifier: Classifier,
    on_problem: Callable[[Problem], None],
) -> Iterator[tuple[int, Place]]:
    """Places that the network can be shown, numbered, with the bands that it takes.

    Args:
        places: as they are read.
        classifier: whose network it is.
        on_problem: is told of those that are left out.
    """
    wanted = classifier.spec.input
    channels = _Channels(wanted.bands) if isinstance(wanted, FixedInput) else None
    for number, place in enumerate(places):
        if isinstance(place, Problem):
            on_problem(place)
            continue
        if channels is None:
            yield number, place
            continue
        images = [channels.of(image) for image in place.images]
        fitting = tuple(image for image in images if image is not None)
        if len(fitting) < len(images):
            on_problem(Problem(place.id, f"an image lacks a band of the network ({channels})."))
        else:
            yield number, replace(place, images=fitting)


class _Channels:
    """The bands of a network among those of images."""

    def __init__(self, wanted: tuple[str, ...]) -> None:
        self._wanted = wanted
        self._known: dict[tuple[Band, ...], list[int] | None] = {}

    def __str__(self) -> str:
        return ", ".join(self._wanted)

    def of(self, chip: Chip) -> Chip | None:
        """A chip with these bands in this order; None where it lacks one."""
        if chip.bands not in self._known:
            names = [band.common_name for band in chip.bands]
            there = all(name in names for name in self._wanted)
            self._known[chip.bands] = [names.index(n) for n in self._wanted] if there else None
        channels = self._known[chip.bands]
        if channels is None or channels == list(range(len(chip.bands))):
            return None if channels is None else chip
        return replace(
            chip,
            image=chip.image[channels],
            palette=chip.palette[channels],
            bands=tuple(chip.bands[c] for c in channels),
        )


def batches_of(places: Iterator[tuple[int, Place]], most_images: int) -> Iterator[Ready]:
    """Batches of places whose images have the same shapes, so that few are small."""
    waiting: defaultdict[Hashable, list[tuple[int, Place]]] = defaultdict(list)
    sizes: defaultdict[Hashable, int] = defaultdict(int)
    for number, place in places:
        key: Hashable = frozenset(_shape(image) for image in place.images)
        waiting[key].append((number, place))
        sizes[key] += len(place.images)
        values = max(image.image.numel() for image in place.images)
        most = max(1, min(most_images, _MOST_VALUES // values))
        if sizes[key] >= most:
            del sizes[key]
            yield _stacked(waiting.pop(key))
        elif sum(sizes.values()) >= _WAITING * most:
            key = max(sizes, key=lambda k: sizes[k])
            del sizes[key]
            yield _stacked(waiting.pop(key))
    for rest in waiting.values():
        yield _stacked(rest)


def _stacked(numbered: list[tuple[int, Place]]) -> Ready:
    places = [place for _, place in numbered]
    return Ready([number for number, _ in numbered], places, stack_places(places))
