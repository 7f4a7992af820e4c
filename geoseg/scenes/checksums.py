"""Whether the files of a scene are still what they were."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from geoseg.errors import SceneError
from geoseg.files import sha256_of

if TYPE_CHECKING:
    from pathlib import Path

    from geoseg.scenes.scene import Asset, Scene

__all__ = ["require_unchanged", "with_checksums"]


def with_checksums(scene: Scene) -> Scene:
    """The same scene with the SHA-256 of the files of its bands and its mask, which are all read.

    Raises:
        SceneError: a file cannot be read.
    """
    known = {path: _sum_of(path) for path in _paths(scene)}

    def summed(asset: Asset) -> Asset:
        return replace(asset, sha256=known[asset.path])

    bands = {name: summed(asset) for name, asset in scene.bands.items()}
    return replace(scene, bands=bands, mask=None if scene.mask is None else summed(scene.mask))


def require_unchanged(scene: Scene) -> None:
    """Refuse a scene whose files are not those that its checksums were made of.

    A bit that flips on a disk is no error to a driver: it is another reflectance. Files without a
    checksum are not read.

    Raises:
        SceneError: a file has changed, or cannot be read.
    """
    assets = [*scene.bands.values(), *([] if scene.mask is None else [scene.mask])]
    wanted = {asset.path: asset.sha256 for asset in assets if asset.sha256 is not None}
    for path, sha256 in wanted.items():
        if _sum_of(path) != sha256:
            raise SceneError(
                f"{path} has not the checksum that scene {scene.id} gives for it; it is damaged, "
                "fetch it again."
            )


def _paths(scene: Scene) -> set[Path]:
    mask = [] if scene.mask is None else [scene.mask]
    return {asset.path for asset in [*scene.bands.values(), *mask]}


def _sum_of(path: Path) -> str:
    try:
        return sha256_of(path)
    except OSError as error:
        raise SceneError(f"{path} cannot be read ({error.strerror}); fetch it again.") from error
