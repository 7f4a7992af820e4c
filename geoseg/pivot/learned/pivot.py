"""The learned back-end: a network that says of any cell and day what acquisitions tell of it."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Self

from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file

from geoseg.errors import ModelError, SceneError
from geoseg.files import write_json, writing
from geoseg.pivot.learned.network import PivotNetwork
from geoseg.pivot.learned.posterior import LearnedPosterior
from geoseg.pivot.learned.question import SIZES
from geoseg.pivot.learned.stack import stacks_of, tracked
from geoseg.pivot.measurement.acquisition import in_order

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    import torch
    from odc.geo.geobox import GeoBox

    from geoseg.pivot.measurement.acquisition import Acquisition
    from geoseg.pivot.physical.posterior import Estimate, Posterior

__all__ = ["LearnedPivot", "LearnedSettings", "network_of"]

_HEADER = "geoseg_pivot"


@dataclass(frozen=True, slots=True, kw_only=True)
class LearnedSettings:
    """Size of the network, and how long it is trained."""

    near: int = 4  # acquisitions of a cell that are looked at on each side of a day
    width: int = 32
    layers: int = 2
    hidings: int = 2  # of each episode
    steps: int = 400
    rate: float = 3e-3

    def __post_init__(self) -> None:
        counts = (self.near, self.width, self.layers, self.hidings, self.steps)
        if min(counts) < 1 or self.width % 4 or not self.rate > 0:
            raise SceneError(
                f"{self} trains no network; give numbers above 0, and a width that 4 divides."
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class LearnedPivot:
    """A trained network."""

    network: PivotNetwork
    settings: LearnedSettings
    hybrid: bool  # whether it was trained to correct physical posteriors

    def at(
        self,
        acquisitions: Sequence[Acquisition],
        grid: GeoBox,
        days: Sequence[float],
        physical: Posterior | None = None,
    ) -> Estimate:
        """The pivot on days since 1970, in any order; see `reading`."""
        return self.reading(acquisitions, grid, physical).at(days)

    def reading(
        self,
        acquisitions: Sequence[Acquisition],
        grid: GeoBox,
        physical: Posterior | None = None,
    ) -> LearnedPosterior:
        """What a network makes of acquisitions, of sensors that it may never have seen.

        Args:
            acquisitions: in any order, warped to the reference system of the grid.
            grid: cells of the pivot, north up, in metres.
            physical: posterior of the same acquisitions on the same grid, for a network that was
                trained to correct one; none: the network does without.

        Raises:
            SceneError: no acquisition, two of one name, none that shows anything, or a physical
                posterior of other cells or for a network that has never seen any.
            GridError: reference systems that differ or are not in metres, or rotated grids.
        """
        if physical is not None and not self.hybrid:
            raise SceneError(
                "The network was trained without physical posteriors; leave it out, or train with "
                "them."
            )
        ordered = in_order(acquisitions)
        stacks = stacks_of(ordered, grid)
        return LearnedPosterior(
            network=self.network,
            near=self.settings.near,
            grid=grid,
            acquisitions=tuple(one.id for one in ordered),
            stacks=stacks if physical is None else tracked(stacks, physical),
        )

    def save(self, path: Path) -> None:
        """Write it as `path` (.safetensors) and, for people, its header as .json beside it.

        Raises:
            OutputError: the folder cannot be written, or the disk is full.
        """
        header = {"settings": asdict(self.settings), "hybrid": self.hybrid}
        weights = {name: one.detach().cpu() for name, one in self.network.state_dict().items()}
        with writing(path) as aside:
            save_file(weights, aside, metadata={_HEADER: json.dumps(header)})
        write_json(path.with_suffix(".json"), header)

    @classmethod
    def load(cls, path: Path, *, device: torch.device | str = "cpu") -> Self:
        """Read it back, ready to predict on a device.

        Raises:
            ModelError: no such file, no network of the pivot, or damaged.
        """
        if not path.is_file():
            raise ModelError(f"{path} does not exist; train a network or give the path of one.")
        try:
            with safe_open(path, framework="pt") as file:
                header = json.loads((file.metadata() or {})[_HEADER])
            settings = LearnedSettings(**header["settings"])
            hybrid = bool(header["hybrid"])
            network = network_of(settings)
            network.load_state_dict(load_file(path))
        except (SafetensorError, KeyError, TypeError, ValueError, RuntimeError) as error:
            raise ModelError(
                f"{path} is no network of the pivot or is damaged ({error}); give a file of "
                "`LearnedPivot.save`."
            ) from error
        return cls(network=network.eval().to(device), settings=settings, hybrid=hybrid)


def network_of(settings: LearnedSettings) -> PivotNetwork:
    """An untrained network, with weights from the generator of torch."""
    return PivotNetwork(SIZES, width=settings.width, layers=settings.layers)
