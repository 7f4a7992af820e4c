"""Reflectance as a reconnaissance film of the 1960s and 1970s shows it.

Exposure, tone and grain follow the photographic process (James 1977, The Theory of the Photographic
Process); docs/film.md says where the range of each effect comes from. Nothing is fitted to one
frame: the ranges are wide, so that a network learns what films have in common.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from kornia.augmentation import IntensityAugmentationBase2D

from geoseg.errors import SensorError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from torch import Tensor

    from geoseg.sensors import Band, Sensor

__all__ = ["EFFECTS", "Effect", "RandomFilm", "in_view", "panchromatic", "to_film"]

_EXPOSED_FOR = 0.98  # quantile of the scene that the exposure was set for
_DARKEST = 0.01  # quantile that has no light but that of the sky
_LEAST = 1e-3  # of the exposure; a film that saw nothing still has its fog
_REACH_PX = 24  # the widest kernel to each side, three standard deviations where they fit
_WARP_NODES = 5  # of the field that bends a chip


@dataclass(frozen=True, slots=True, kw_only=True)
class Effect:
    """One thing that film does to an image: drawn evenly from a range, for each image."""

    low: float
    high: float
    usual: float  # while another effect is looked at: nothing happens, or what is common
    unit: str
    source: str


_SLATER = "Slater 1980, Remote Sensing: Optics and Optical Systems"
_KODAK = "Kodak data sheets of aerial films, over the developments they name"

EFFECTS: Mapping[str, Effect] = {
    "exposure": Effect(
        low=-0.15,
        high=0.15,
        usual=0.0,
        unit="log10 of exposure",
        source="half a stop to either side: exposure was set for a latitude and a season; estimate",
    ),
    "haze": Effect(
        low=0.0,
        high=0.15,
        usual=0.0,
        unit="share of the light that is veil",
        source=f"path radiance behind a minus-blue filter, {_SLATER}; share an estimate",
    ),
    "shadow": Effect(
        low=0.0,
        high=0.9,
        usual=0.0,
        unit="share of the light of the sky that is lost",
        source="skylight is blue and the filter cuts it: high and dry, little is left; estimate",
    ),
    "vignetting": Effect(
        low=0.0,
        high=0.35,
        usual=0.0,
        unit="loss in the corner of the frame",
        source=f"fourth power of the cosine, less what a filter gives back, {_SLATER}",
    ),
    "blur": Effect(
        low=0.8,
        high=1.6,
        usual=0.0,
        unit="ground resolutions of the camera, full width at half maximum",
        source="6 to 9 m for Hexagon's mapping camera, Surazakov and Aizen 2010",
    ),
    "gamma": Effect(
        low=1.0,
        high=2.6,
        usual=1.8,
        unit="density per log10 of exposure",
        source=_KODAK,
    ),
    "middle": Effect(
        low=-0.9,
        high=-0.35,
        usual=-0.6,
        unit="log10 of the exposure of middle grey",
        source="1/8 to 1/2 of the brightest 2 %: exposed for land, snow at the shoulder; estimate",
    ),
    "latitude": Effect(
        low=1.0,
        high=2.2,
        usual=1.6,
        unit="density from fog to shoulder",
        source=_KODAK,
    ),
    "grain": Effect(
        low=0.01,
        high=0.06,
        usual=0.0,
        unit="rms density at density 1 over a ground resolution",
        source="rms granularity of 8 to 10 in a 48 um spot, to 7 to 14 um by Selwyn's law (1935)",
    ),
    "stripes": Effect(
        low=0.0,
        high=0.02,
        usual=0.0,
        unit="rms, share of the range",
        source="unlike elements of a line scanner; estimate",
    ),
    "dust": Effect(
        low=0.0,
        high=4.0,
        usual=0.0,
        unit="specks in 10,000 pixels",
        source="estimate from published scans",
    ),
    "scratches": Effect(
        low=0.0,
        high=0.5,
        usual=0.0,
        unit="scratches in a chip, on average",
        source="estimate from published scans",
    ),
    "warp": Effect(
        low=0.0,
        high=0.5,
        usual=0.0,
        unit="pixels, rms",
        source="what reseau marks leave uncorrected, Surazakov and Aizen 2010; estimate",
    ),
    "black": Effect(
        low=0.0,
        high=35.0,
        usual=0.0,
        unit="count of the darkest film",
        source="8-bit scans, stretched by hand; estimate",
    ),
    "white": Effect(
        low=205.0,
        high=255.0,
        usual=255.0,
        unit="count of the brightest film",
        source="8-bit scans, stretched by hand; estimate",
    ),
}


def panchromatic(image: Tensor, bands: Sequence[Band], camera: Sensor) -> Tensor:
    """What a film sees (N, 1, H, W) of an image: the mean of its bands, weighted by the response.

    A band counts by how much of it lies within the response of film and filter, both taken as
    boxes. Where one is missing the others stand for it; NaN where all are.

    Args:
        image: (N, C, H, W) or (N, C, P), proportional to radiance or reflectance, NaN where a band
            is missing.
        bands: of the image.
        camera: of kind film.

    Raises:
        SensorError: the camera is no film, or no band lies in its view.
    """
    shares = _weights(bands, camera)
    if not any(shares):
        names = ", ".join(band.common_name for band in bands)
        raise SensorError(
            f"None of the bands {names} lies in view of {camera.id}; give green or red."
        )
    weights = torch.tensor(shares, dtype=image.dtype, device=image.device)
    weights = weights.view(1, -1, *([1] * (image.ndim - 2)))
    seen = image.isfinite() & (weights > 0)
    total = (seen * weights).sum(dim=1, keepdim=True)
    light = torch.where(seen, image * weights, 0).sum(dim=1, keepdim=True)
    return torch.where(total > 0, light / total, torch.nan)


def to_film(
    image: Tensor, palette: Tensor, bands: Sequence[Band], gsd_m: Tensor, *, camera: Sensor
) -> tuple[Tensor, Tensor]:
    """Images of any unit turned into 8-bit scans of film, each drawn anew.

    The exposure is set by the scene and not by the chip, as in the camera: a chip full of snow is
    white.

    Args:
        image: (N, C, H, W), NaN where a band is missing.
        palette: (N, C, P), some valid pixels of the scene of each image, in the same unit.
        bands: of the image.
        gsd_m: (N,), pixel of each image.
        camera: of kind film.

    Returns:
        Counts from 0 to 255 (N, 1, H, W), NaN where no band in view of the film was measured, and
        those of the palette (N, 1, P).

    Raises:
        SensorError: the camera is no film, or no band lies in its view.
    """
    seen, usual = (panchromatic(values, bands, camera) for values in (image, palette))
    usual = usual.unsqueeze(-1)  # a palette is an image one pixel wide
    dark, full = torch.nanquantile(
        usual.flatten(1), torch.tensor([_DARKEST, _EXPOSED_FOR]).to(usual), dim=1
    ).view(2, -1, 1, 1, 1)
    zero = torch.minimum(dark, torch.zeros_like(dark))
    span = (full - zero).clamp(min=1e-6)
    film = RandomFilm(resolution_m=camera.bands[0].gsd_m)
    film.to(image.device)
    params = film.forward_parameters(seen.shape)
    params |= {"gsd_m": gsd_m.to(image.device), "sky": ((dark - zero) / span).flatten()}
    counts: Tensor = film.forward((seen - zero) / span, params=params)
    return counts, film.develop((usual - zero) / span, params).squeeze(-1)


class RandomFilm(IntensityAugmentationBase2D):
    """Exposure (N, 1, H, W), 1 in the brightest parts of a scene, to counts of a scanned film.

    **Convention:** the scan is a positive: snow is bright. Parameters are drawn from `EFFECTS`, or
    given as `params` with one value an image under each of its names; beside them `gsd_m`, the
    pixel, and `sky`, the exposure of ground that only the sky lights. NaN stays NaN.

    Args:
        resolution_m: ground resolution of the camera.
    """

    def __init__(self, *, resolution_m: float) -> None:
        super().__init__(p=1.0)
        self.register_buffer("resolution_m", torch.tensor(float(resolution_m)))

    def generate_parameters(self, batch_shape: Sequence[int]) -> dict[str, Tensor]:
        """One draw of each effect for each image."""
        resolution_m = self.get_buffer("resolution_m")
        drawn = {
            name: effect.low
            + (effect.high - effect.low) * torch.rand(batch_shape[0], device=resolution_m.device)
            for name, effect in EFFECTS.items()
        }
        drawn["gsd_m"] = resolution_m.expand(batch_shape[0])
        drawn["sky"] = torch.zeros_like(drawn["gsd_m"])
        return drawn

    def apply_transform(
        self,
        input: Tensor,  # noqa: A002  kornia's name
        params: dict[str, Tensor],
        flags: dict[str, Any],  # noqa: ARG002  kornia's signature
        transform: Tensor | None = None,  # noqa: ARG002
    ) -> Tensor:
        """Counts from 0 to 255."""
        known = input.isfinite()
        both = torch.cat([torch.where(known, input, 0), known.to(input)], dim=1)
        light, there = _blurred(_bent(both, params["warp"]), self._sigma_px(params)).split(1, dim=1)
        # What is missing is not black: it takes no part in the blur.
        light = light / there.clamp(min=_LEAST)
        light = light * _vignette(light.shape, params["vignetting"])
        tone = self._tone(light, params)
        tone = tone + _stripes(tone, params["stripes"])
        tone = _scratched(_dusted(tone, params["dust"]), params["scratches"])
        return torch.where(known, _scanned(tone, params), torch.nan)

    def develop(self, light: Tensor, params: Mapping[str, Tensor]) -> Tensor:
        """Counts of single pixels: all effects that need no neighbours."""
        corner = torch.rand_like(light)  # any place of the frame
        light = light * (1 - _each(params["vignetting"]) * corner)
        return torch.where(light.isfinite(), _scanned(self._tone(light, params), params), torch.nan)

    def _sigma_px(self, params: Mapping[str, Tensor]) -> Tensor:
        # Two points a resolution apart are just told apart: a Gaussian as wide as that at half
        # of its height.
        width_m = params["blur"] * self.get_buffer("resolution_m")
        return width_m / 2.355 / params["gsd_m"]

    def _tone(self, light: Tensor, params: Mapping[str, Tensor]) -> Tensor:
        """Density above fog over the latitude, with grain: 0 black to 1 white in the positive."""
        haze, sky = _each(params["haze"]), _each(params["sky"])
        light = light - _each(params["shadow"]) * sky
        light = (light.clamp(min=0) * (1 - haze) + haze).clamp(min=_LEAST)
        logged = light.log10() + _each(params["exposure"]) - _each(params["middle"])
        latitude = _each(params["latitude"])
        density = latitude * torch.sigmoid(4 * _each(params["gamma"]) / latitude * logged)
        return (density + self._grain(density, params)) / latitude

    def _grain(self, density: Tensor, params: Mapping[str, Tensor]) -> Tensor:
        """Noise of silver: its deviation grows with the root of the density (Selwyn 1935)."""
        # Over a larger pixel more grains are averaged.
        averaged = (self.get_buffer("resolution_m") / params["gsd_m"]).clamp(max=1)
        size = _each(params["grain"] * averaged)
        return size * density.clamp(min=0).sqrt() * torch.randn_like(density)


def in_view(bands: Sequence[Band], camera: Sensor) -> bool:
    """Whether a camera sees one of these bands; a panchromatic band may be film already."""
    return any(_weights([b for b in bands if b.common_name != "pan"], camera))


def _weights(bands: Sequence[Band], camera: Sensor) -> list[float]:
    film = camera.bands[0]
    if camera.kind.value != "film" or film.centre_um is None or film.fwhm_um is None:
        raise SensorError(
            f"{camera.id} is no film; give a sensor of kind film of `geoseg sensors list`."
        )
    low, high = film.centre_um - film.fwhm_um / 2, film.centre_um + film.fwhm_um / 2
    weights = []
    for band in bands:
        overlap = 0.0
        if band.centre_um is not None and band.fwhm_um is not None:
            half = band.fwhm_um / 2
            overlap = min(high, band.centre_um + half) - max(low, band.centre_um - half)
        weights.append(max(overlap, 0.0))
    return weights


def _each(values: Tensor) -> Tensor:
    """One value an image, shaped to go with images (N, 1, H, W)."""
    return values.view(-1, 1, 1, 1)


def _bent(light: Tensor, rms_px: Tensor) -> Tensor:
    """Small smooth shifts: a film that stretched, and a scanner that did not see so."""
    count, _, height, width = light.shape
    nodes = torch.randn(count, 2, _WARP_NODES, _WARP_NODES, device=light.device)
    shift = F.interpolate(nodes, (height, width), mode="bicubic", align_corners=True)
    shift = shift * _each(rms_px)
    rows = torch.linspace(-1, 1, height, device=light.device).view(1, -1, 1)
    columns = torch.linspace(-1, 1, width, device=light.device).view(1, 1, -1)
    x = columns + 2 * shift[:, 0] / max(width - 1, 1)
    y = rows + 2 * shift[:, 1] / max(height - 1, 1)
    where = torch.stack([x, y], dim=-1)
    return F.grid_sample(light, where, padding_mode="border", align_corners=True)


def _blurred(light: Tensor, sigma_px: Tensor) -> Tensor:
    """Gaussian blur of each image by its own width."""
    reach = int(max(1, min(_REACH_PX, round(3 * float(sigma_px.max())))))
    place = torch.arange(-reach, reach + 1, device=light.device)
    kernel = torch.exp(-0.5 * (place / sigma_px.clamp(min=1e-3)[:, None]).square())
    kernel = (kernel / kernel.sum(dim=1, keepdim=True)).repeat_interleave(light.shape[1], dim=0)
    count, length = kernel.shape
    padded = F.pad(light, (reach,) * 4, mode="replicate").flatten(0, 1).unsqueeze(0)
    down = F.conv2d(padded, kernel.view(count, 1, length, 1), groups=count)
    both = F.conv2d(down, kernel.view(count, 1, 1, length), groups=count)
    return both.view_as(light)


def _vignette(shape: torch.Size, loss: Tensor) -> Tensor:
    """Light that is left (N, 1, H, W), for chips anywhere in a frame ten times as wide."""
    count, _, height, width = shape
    centre = torch.rand(count, 2, 1, 1, device=loss.device) * 1.8 - 0.9
    rows = torch.linspace(-0.1, 0.1, height, device=loss.device).view(1, -1, 1)
    columns = torch.linspace(-0.1, 0.1, width, device=loss.device).view(1, 1, -1)
    square = ((centre[:, 0] + rows).square() + (centre[:, 1] + columns).square()) / 2
    return 1 - _each(loss) * square.unsqueeze(1)


def _stripes(tone: Tensor, rms: Tensor) -> Tensor:
    """An offset of each line of a scanner that moves along rows or along columns."""
    count, _, height, width = tone.shape
    along = (torch.rand(count, 1, 1, 1, device=tone.device) < 0.5).to(tone)
    rows = torch.randn(count, 1, height, 1, device=tone.device)
    columns = torch.randn(count, 1, 1, width, device=tone.device)
    return _each(rms) * (along * rows + (1 - along) * columns)


def _dusted(tone: Tensor, specks: Tensor) -> Tensor:
    """Specks of dust, white or black, of one to three pixels."""
    grains = torch.rand_like(tone) < _each(specks) * 1e-4
    wide = F.max_pool2d(grains.to(tone), 3, stride=1, padding=1) > 0
    large = torch.rand(len(tone), 1, 1, 1, device=tone.device) < 0.5
    white = (torch.rand(len(tone), 1, 1, 1, device=tone.device) < 0.5).to(tone)
    return torch.where(torch.where(large, wide, grains), white, tone)


def _scratched(tone: Tensor, expected: Tensor) -> Tensor:
    """A bright scratch across some chips, one pixel wide and nearly along a side."""
    count, _, height, width = tone.shape
    here = torch.rand(count, device=tone.device) < 1 - torch.exp(-expected)
    start, lean = torch.rand(count, device=tone.device), torch.randn(count, device=tone.device)
    rows = torch.arange(height, device=tone.device).view(1, -1, 1)
    columns = torch.arange(width, device=tone.device).view(1, 1, -1)
    line = (start * width).view(-1, 1, 1) + 0.1 * lean.view(-1, 1, 1) * rows
    on = ((columns - line).abs() < 0.5) & here.view(-1, 1, 1)
    return torch.where(on.unsqueeze(1), (tone + 0.6).clamp(max=1.0), tone)


def _scanned(tone: Tensor, params: Mapping[str, Tensor]) -> Tensor:
    """Whole counts of an 8-bit scanner."""
    black, white = _each(params["black"]), _each(params["white"])
    return (black + (white - black) * tone).round().clamp(0, 255)
