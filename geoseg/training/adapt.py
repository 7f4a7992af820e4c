"""Learning from scenes that have no labels."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import torch

from geoseg.chips import jitter_bands, match_tones, swap_amplitude
from geoseg.labels import IGNORE

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from geoseg.chips import Batch
    from geoseg.config import AdaptationSettings
    from geoseg.models import Segmenter

__all__ = ["Teacher", "style_of"]

_STRONG = 0.2  # jitter of what the pupil sees, in standard deviations of a band
_STYLED = 0.5  # share of steps whose labelled chips take the style of the target


class Teacher(NamedTuple):
    """The running mean of a network, which labels what nobody has labelled.

    Tarvainen and Valpola 2017; only confident answers count, as in FixMatch (Sohn and others 2020).
    """

    segmenter: Segmenter
    settings: AdaptationSettings

    @torch.no_grad()
    def lessons(
        self,
        batches: Sequence[Batch],
        part: Callable[[Sequence[Batch]], list[Batch]] = list,
    ) -> list[Batch]:
        """Chips changed for the pupil, labelled by what the teacher says of them unchanged.

        IGNORE where it is not sure or nothing is valid; none when the recipe has no self-training.

        Args:
            batches: of scenes without labels.
            part: the chips of some batches that are wanted, for which others are changed too.
        """
        if "self_training" not in self.settings.methods:
            return []
        self.segmenter.eval()
        changed = part([jitter_bands(batch, strength=_STRONG) for batch in batches])
        lessons = []
        for batch, lesson in zip(part(batches), changed, strict=True):
            sure, said = self.segmenter(batch.view()).float().softmax(dim=1).max(dim=1)
            known = batch.valid & (sure >= self.settings.confidence)
            label = torch.where(known, said, IGNORE).to(torch.uint8)
            lessons.append(lesson._replace(label=label))
        return lessons

    def weight(self, step: int) -> float:
        """Weight of the lessons at a step counted from 0: a linear rise."""
        return self.settings.weight * min(1.0, (step + 1) / (self.settings.warmup_steps + 1))


def style_of(
    targets: Sequence[Batch], batches: Sequence[Batch], settings: AdaptationSettings
) -> list[Batch]:
    """Labelled batches in the style of a target of the same bands, in half of the steps."""
    change = {"histogram": match_tones, "fourier": swap_amplitude}
    chosen = [change[method] for method in settings.methods if method in change]
    if not chosen or torch.rand(()) >= _STYLED:
        return list(batches)
    by_bands = {target.bands: target for target in targets}
    styled = []
    for batch in batches:
        target = by_bands.get(batch.bands)
        if target is not None:
            for change_style in chosen:
                batch = change_style(batch, target)
        styled.append(batch)
    return styled
