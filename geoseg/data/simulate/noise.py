"""Fields that look alike at every scale."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["fractal", "rising"]


def fractal(
    side: int, rng: np.random.Generator, *, roughness: float, longest: float = 1.0
) -> NDArray[np.float32]:
    """Fractal noise (side, side) of mean 0 and standard deviation 1, by spectral synthesis.

    Args:
        side: pixels.
        rng: where the randomness comes from.
        roughness: exponent of the power spectrum, 2 (rough) to 4 (smooth).
        longest: longest wavelength as a share of the side; longer ones are left out.
    """
    rows = np.fft.fftfreq(side)[:, None]
    columns = np.fft.rfftfreq(side)[None, :]
    frequency = np.hypot(rows, columns)
    frequency[0, 0] = 1
    amplitude = frequency ** (-roughness / 2)
    amplitude[frequency < 1 / (side * longest)] = 0
    amplitude[0, 0] = 0
    phase = rng.standard_normal(amplitude.shape) + 1j * rng.standard_normal(amplitude.shape)
    field = np.fft.irfft2(amplitude * phase, s=(side, side))
    return np.asarray(field / field.std(), dtype=np.float32)


def rising(values: NDArray[np.float32], low: float, high: float) -> NDArray[np.float32]:
    """0 below `low`, 1 above `high`, smooth between them."""
    t = np.clip((values - low) / (high - low), 0, 1)
    return np.asarray(t * t * (3 - 2 * t), dtype=np.float32)
