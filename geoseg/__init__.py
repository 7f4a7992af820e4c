"""Images of one place by different instruments go in; outlines that can be compared come out.

Nothing heavy is imported here: `import geoseg` stays instant. Import the room you need, for example
`from geoseg.scenes import read_scene`.
"""

from geoseg._version import __version__

__all__ = ["__version__"]
