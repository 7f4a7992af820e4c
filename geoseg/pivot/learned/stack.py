"""All that a network is told of a piece of ground, by variable."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import torch

from geoseg.errors import SceneError
from geoseg.pivot.learned.blur import blurred
from geoseg.pivot.learned.describe import figures_of
from geoseg.pivot.learned.evidence import evidence_of
from geoseg.pivot.measurement.looks import looks_by_variable
from geoseg.pivot.measurement.rim import inside, padded
from geoseg.pivot.measurement.variables import find_variable, load_variables

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from odc.geo.geobox import GeoBox
    from torch import Tensor

    from geoseg.pivot.learned.evidence import Evidence
    from geoseg.pivot.measurement.acquisition import Acquisition
    from geoseg.pivot.measurement.looks import Look
    from geoseg.pivot.physical.posterior import Posterior

__all__ = ["Stack", "Track", "stacks_of", "tracked"]

_HALO_M = 60.0  # beyond the grid, which coarse pixels see with it


@dataclass(frozen=True, slots=True, kw_only=True)
class Track:
    """A physical posterior of one variable on the days (T,) of its acquisitions."""

    mean: Tensor  # (T, H, W)
    level: Tensor  # (T, H, W), averaged over the cells around
    posterior: Posterior


@dataclass(frozen=True, slots=True, kw_only=True)
class Stack:
    """Of one variable, by its acquisitions (T,) in order, on cells (H, W)."""

    variable: str
    evidence: Evidence
    sources: Tensor  # (T,) int32, index among all acquisitions
    figures: Tensor  # (T, FIGURES)
    sky: Tensor  # (T, 2, H, W) innovation of all variables, and of the shortest wavelength
    track: Track | None  # none: there is no physical posterior


def stacks_of(ordered: Sequence[Acquisition], grid: GeoBox) -> dict[str, Stack]:
    """Of each variable that is measured.

    Args:
        ordered: acquisitions by time.
        grid: cells (H, W).

    Raises:
        SceneError: no acquisition, or none that shows anything.
        GridError: reference systems that differ or are not in metres, or rotated grids.
    """
    if not ordered:
        raise SceneError("The pivot needs an acquisition; give one or more.")
    ground = padded(grid, _HALO_M)
    found = looks_by_variable(ordered, tuple(load_variables()), ground)
    looks = {name: some for name, some in found.items() if some}
    if not looks:
        raise SceneError(
            "No acquisition shows anything of the pivot: all is cloud or lies beside it. Give "
            "other acquisitions or another grid."
        )
    inner = inside(ground, grid)
    evidence = {name: evidence_of(some).cropped(inner) for name, some in looks.items()}
    places = {one.id: k for k, one in enumerate(ordered)}
    sky = _sky(looks, evidence)
    return {
        name: Stack(
            variable=name,
            evidence=evidence[name],
            sources=torch.tensor([places[one.acquisition] for one in some], dtype=torch.int32),
            figures=torch.tensor(
                [figures_of(ordered[places[one.acquisition]], one, name) for one in some]
            ),
            sky=torch.stack([sky[one.acquisition] for one in some]),
            track=None,
        )
        for name, some in looks.items()
    }


def tracked(stacks: Mapping[str, Stack], physical: Posterior) -> dict[str, Stack]:
    """With what a physical posterior has come from, of variables that are known to it.

    Raises:
        SceneError: it is on other cells, or knows of none of the variables.
    """
    known = {name: one for name, one in stacks.items() if name in physical.known}
    if not known:
        raise SceneError(
            f"The physical posterior knows of {', '.join(physical.known)} and the acquisitions "
            f"show {', '.join(stacks)}; make it of the same acquisitions."
        )
    shown, there = (
        tuple(one.shape) for one in (next(iter(known.values())).evidence.seen[0], physical.classes)
    )
    if shown != there:
        raise SceneError(
            f"The physical posterior has {there[0]} x {there[1]} cells and the grid "
            f"{shown[0]} x {shown[1]}; make it on the same grid."
        )
    return {
        name: replace(one, track=_track(physical, name, one.evidence))
        for name, one in known.items()
    }


def _sky(
    looks: Mapping[str, Sequence[Look]], evidence: Mapping[str, Evidence]
) -> dict[str, Tensor]:
    """Innovations (2, H, W) of each acquisition: mean of its variables, and in the bluest.

    A cloud is bright at all wavelengths and most against dark ground, in the shortest.
    """
    shown: dict[str, list[Tensor]] = {}
    # Radar has no wavelength here, and no other variables in the same acquisition.
    for name in sorted(looks, key=lambda one: find_variable(one).band.centre_um or 0.0):
        for look, around in zip(looks[name], evidence[name].around, strict=True):
            shown.setdefault(look.acquisition, []).append(around)
    return {name: torch.stack([torch.stack(some).mean(0), some[0]]) for name, some in shown.items()}


def _track(physical: Posterior, variable: str, evidence: Evidence) -> Track:
    days = [float(day) for day in evidence.days]
    mean = torch.stack([physical.moment(variable, day).mean for day in days])
    return Track(mean=mean, level=blurred(mean), posterior=physical)
