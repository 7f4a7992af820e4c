"""The physical back-end: a Kalman smoother through footprints, about what is usual."""

from geoseg.pivot.physical.build import PhysicalSettings, Usual, build_posterior, learn_usual

__all__ = ["PhysicalSettings", "Usual", "build_posterior", "learn_usual"]
