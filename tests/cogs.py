"""Whether a raster is what tile servers and QGIS take for cloud-optimised."""

from __future__ import annotations

from rio_cogeo.cogeo import cog_validate


def faults_of_cog(path):
    """What rio-cogeo has against a file, warnings included; [] of a good one."""
    _, errors, warnings = cog_validate(path, strict=True, quiet=True)
    return [*errors, *warnings]
