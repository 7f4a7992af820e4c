"""A simulated year of overpasses by several sensors, with what a clear sky would have shown."""

from geoseg.data.seasons.ground import LAND_COVERS, Ground, make_ground
from geoseg.data.seasons.write import write_year
from geoseg.data.seasons.year import SimulatedYear, simulated_year

__all__ = ["LAND_COVERS", "Ground", "SimulatedYear", "make_ground", "simulated_year", "write_year"]
