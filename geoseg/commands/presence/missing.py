"""What the verbs that read results say of results that are not complete."""

from __future__ import annotations

from typing import TYPE_CHECKING

from geoseg.terminal import note

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["note_missing_shards"]


def note_missing_shards(results: Path) -> None:
    """Say so where shards of results are missing."""
    from geoseg.presence.about import unfinished

    sentence = unfinished(results)
    if sentence is not None:
        note(sentence)
