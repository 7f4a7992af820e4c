"""Random changes of a batch that leave its meaning."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from geoseg.chips.film import in_view, to_film
from geoseg.sensors import find_sensor
from geoseg.views import band_table, tones, turned

if TYPE_CHECKING:
    from collections.abc import Sequence

    from geoseg.chips.chip import Batch
    from geoseg.sensors import Band

__all__ = ["drop_bands", "film_some", "flip_randomly", "jitter_bands"]


def flip_randomly(batch: Batch) -> Batch:
    """One of eight rotations and mirror images, drawn for each sample.

    Of chips that are not square one of the four that keep their shape. The aspect of the terrain
    turns with it.
    """
    image, valid, label = batch.image.clone(), batch.valid.clone(), batch.label.clone()
    bands = band_table(batch.bands)
    step = 1 if image.shape[-2] == image.shape[-1] else 2  # no quarter turns
    moves = step * torch.randint(8 // step, (len(image),), device=image.device)
    for move in range(step, 8, step):
        chosen = moves == move
        turns, mirrored = move % 4, move >= 4
        image[chosen] = turned(image[chosen], bands, turns, mirrored=mirrored)
        for tensor in (valid, label):
            moved = tensor[chosen].rot90(turns, (-2, -1))
            tensor[chosen] = moved.flip(-1) if mirrored else moved
    return batch._replace(image=image, valid=valid, label=label)


def jitter_bands(batch: Batch, *, strength: float) -> Batch:
    """Each band of each sample with a random gain and offset, as light and calibration give it.

    Args:
        batch: in the unit of its scenes.
        strength: standard deviation of the gain about 1, and of the offset in standard deviations
            of the band over its scene.
    """
    shape = (*batch.image.shape[:2], 1, 1)
    mean, std = tones(batch.palette)
    gain = 1 + strength * torch.randn(shape, device=batch.image.device)
    offset = strength * torch.randn(shape, device=batch.image.device) * std.nan_to_num(posinf=0.0)
    return batch._replace(image=mean + (batch.image - mean) * gain + offset)


def drop_bands(batch: Batch, *, share: float) -> Batch:
    """Bands taken away at random, for each sample anew: NaN, which is missing and not zero.

    A kind of band (optical, radar, terrain) goes as a whole as often as one band does, so that a
    network learns to do without elevation. A chip that would lose all of its bands keeps them.

    Args:
        batch: of any bands.
        share: of the bands that go, 0 to 1.
    """
    count, device = len(batch.image), batch.image.device
    kinds = sorted({_kind(band) for band in batch.bands})
    numbers = torch.tensor([kinds.index(_kind(band)) for band in batch.bands], device=device)
    kept = torch.rand(count, len(batch.bands), device=device) >= share
    if len(kinds) > 1:
        kept &= (torch.rand(count, len(kinds), device=device) >= share)[:, numbers]
    kept |= ~kept.any(dim=1, keepdim=True)
    gone = torch.where(kept, 0.0, torch.nan).to(batch.image)
    return batch._replace(image=batch.image + gone[..., None, None])


def film_some(batches: Sequence[Batch], *, share: float, cameras: Sequence[str]) -> list[Batch]:
    """The batches with a share of their optical chips rendered as film.

    A chip turned into film keeps its terrain bands; chips of radar, panchromatic ones and film
    stay what they are.

    Args:
        batches: as `stack` gives them.
        share: of the chips with a band in view of a camera that become film, 0 to 1.
        cameras: ids of film sensors, drawn evenly.
    """
    changed: list[Batch] = []
    for batch in batches:
        seen_by = [name for name in cameras if in_view(batch.bands, find_sensor(name))]
        if share == 0 or not seen_by:
            changed.append(batch)
            continue
        draws = torch.rand(len(batch.image), device=batch.image.device)
        camera = torch.randint(len(seen_by), draws.shape, device=draws.device)
        if (draws >= share).any():
            changed.append(batch.part(draws >= share))
        for number, name in enumerate(seen_by):
            chosen = (draws < share) & (camera == number)
            if chosen.any():
                changed.append(_film(batch.part(chosen), name))
    return changed


def _film(batch: Batch, camera_id: str) -> Batch:
    camera = find_sensor(camera_id)
    known = torch.where(batch.valid.unsqueeze(1), batch.image, torch.nan)
    image, palette = to_film(known, batch.palette, batch.bands, batch.gsd_m, camera=camera)
    terrain = [i for i, band in enumerate(batch.bands) if _kind(band) == "terrain"]
    return batch._replace(
        image=torch.cat([image, batch.image[:, terrain]], dim=1),
        palette=torch.cat([palette, batch.palette[:, terrain]], dim=1),
        bands=(camera.bands[0], *(batch.bands[i] for i in terrain)),
    )


def _kind(band: Band) -> str:
    if band.centre_um is not None:
        return "optical"
    return "terrain" if band.frequency_ghz is None else "radar"
