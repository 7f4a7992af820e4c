"""What a worker reads once for all its shards, and refuses when it was changed on the way."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

from geoseg.errors import DataError, ModelError
from geoseg.models.classifier import ClassifierCheckpoint, load_classifier
from geoseg.presence.packs import Pack, read_pack

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["same_classifier", "same_pack"]


@lru_cache(maxsize=1)
def same_classifier(path: Path, sha256: str) -> ClassifierCheckpoint:
    """The classifier of a file that the work began with.

    Raises:
        ModelError: it is none, or another one by now.
    """
    checkpoint = load_classifier(path)
    if checkpoint.sha256 != sha256:
        raise ModelError(f"{path} was changed while it was used; run again.")
    return checkpoint


@lru_cache(maxsize=1)
def same_pack(folder: Path, digest: str) -> Pack:
    """The pack of a folder that the work began with.

    Raises:
        DataError: it is none, or another one by now.
    """
    pack = read_pack(folder)
    if pack.digest != digest:
        raise DataError(f"{folder} was packed anew while it was read; run again.")
    return pack
