"""What a network was never shown."""

from __future__ import annotations

from typing import TYPE_CHECKING

from geoseg.models.network import AnyInput

if TYPE_CHECKING:
    from collections.abc import Sequence

    from geoseg.models.network import FixedInput
    from geoseg.sensors import Band

__all__ = ["extrapolation"]

_NEAR_GSD = 1.25  # a pixel this many times coarser or finer is still of the same kind


def extrapolation(taken: FixedInput | AnyInput, bands: Sequence[Band], gsd_m: float) -> str | None:
    """One sentence on what of an image lies outside of what a network was trained on.

    Args:
        taken: what the network takes.
        bands: of the image.
        gsd_m: at which it is mapped.

    Returns:
        None where nothing does; a network for fixed bands takes no others.
    """
    if not isinstance(taken, AnyInput):
        return None
    said = []
    seen = taken.seen
    if new := [band for band in bands if not any(_alike(band, other) for other in seen)]:
        said.append(f"{', '.join(map(_described, new))} (trained on {_listed(seen)})")
    finest, coarsest = taken.gsd_m
    if not finest / _NEAR_GSD <= gsd_m <= coarsest * _NEAR_GSD:
        trained = f"{finest:g} m" if finest == coarsest else f"{finest:g} to {coarsest:g} m"
        said.append(f"pixels of {gsd_m:g} m (trained at {trained})")
    if not said:
        return None
    return f"The network extrapolates: it was never shown {' nor '.join(said)}."


def _alike(one: Band, other: Band) -> bool:
    """Whether a band lies within another, or both are one kind of radar or terrain."""
    if one.centre_um is not None and other.centre_um is not None and other.fwhm_um is not None:
        # Rounded: bands of one name of two Landsats touch at the edge.
        return round(abs(one.centre_um - other.centre_um) - other.fwhm_um / 2, 6) <= 0
    if one.frequency_ghz is not None and other.frequency_ghz is not None:
        octave = max(one.frequency_ghz, other.frequency_ghz) / min(
            one.frequency_ghz, other.frequency_ghz
        )
        return one.polarisation == other.polarisation and octave < 2
    optical = one.centre_um is not None or other.centre_um is not None
    radar = one.frequency_ghz is not None or other.frequency_ghz is not None
    return not optical and not radar and one.common_name == other.common_name


def _described(band: Band) -> str:
    if band.centre_um is not None:
        return f"{band.common_name} at {band.centre_um:g} um"
    if band.frequency_ghz is not None:
        return f"{band.common_name} at {band.frequency_ghz:g} GHz"
    return band.common_name


def _listed(bands: Sequence[Band]) -> str:
    return ", ".join(dict.fromkeys(band.common_name for band in bands))
