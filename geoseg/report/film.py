"""A contact sheet of what film does to an image."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from geoseg.chips import EFFECTS, RandomFilm, panchromatic, to_film
from geoseg.data.simulate import Sun, make_landscape, reflectance, surface
from geoseg.files import writing
from geoseg.report.drawing import empty_figure, png_of
from geoseg.sensors import SensorKind, find_sensor, load_sensors

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from matplotlib.figure import SubFigure
    from numpy.typing import NDArray
    from torch import Tensor

    from geoseg.chips import Effect
    from geoseg.sensors import Band, Sensor

__all__ = ["draw_film_sheet"]

_SIDE_PX, _GSD_M = 110, 10.0
_COLUMNS = 6
_EXAMPLE = ("nir", "red", "green")  # of Sentinel-2
_SEED, _SIZE_M, _YEAR = 2, 4800.0, 2020
_PANEL_IN = 1.75
_DPI = 72  # a pixel of the scene is one of the picture, near enough
_SHOWN_AT_M = {"blur": 2.0, "grain": 6.0}  # a pixel at which the effect is seen


def draw_film_sheet(path: Path) -> None:
    """Write a PNG: a simulated scene, each effect at both ends of its range, and whole films.

    Raises:
        OutputError: it cannot be written.
    """
    torch.manual_seed(0)
    image = _example()
    sensor = find_sensor("sentinel-2")
    bands = tuple(sensor.band(name) for name in _EXAMPLE)
    cameras = [s for s in load_sensors().values() if s.kind is SensorKind.FILM]
    lines = -(-2 * len(EFFECTS) // _COLUMNS)
    heights = (1, lines, len(cameras))
    height_in = (sum(heights) * 1.13 + 0.5) * _PANEL_IN
    figure = empty_figure(_COLUMNS * _PANEL_IN, height_in, dpi=_DPI)
    grid = figure.add_gridspec(3, 1, height_ratios=heights)
    top, middle, bottom = (figure.add_subfigure(grid[row, 0]) for row in range(3))
    _draw_scene(top, image, bands, cameras[0])
    _draw_effects(middle, panchromatic(image, bands, cameras[0]), lines)
    _draw_films(bottom, image, bands, cameras)
    with writing(path) as aside:
        aside.write_bytes(png_of(figure))


def _example() -> Tensor:
    """Reflectance (1, 3, H, W) of a glacier tongue of the simulated landscape."""
    landscape = make_landscape(seed=_SEED, size_m=_SIZE_M)
    ground, sun = surface(landscape, _YEAR), Sun(azimuth=140, elevation=45)
    sensor = find_sensor("sentinel-2")
    seen = [reflectance(landscape, ground, sensor, sensor.band(n), sun) for n in _EXAMPLE]
    image = torch.from_numpy(np.stack(seen))[None]
    top, left = (image.shape[-2] - _SIDE_PX) // 2 + 100, (image.shape[-1] - _SIDE_PX) // 2
    return image[..., top : top + _SIDE_PX, left : left + _SIDE_PX]


def _draw_scene(figure: SubFigure, image: Tensor, bands: tuple[Band, ...], camera: Sensor) -> None:
    axes = figure.subplots(1, _COLUMNS)
    pan = panchromatic(image, bands, camera)
    colours = image[0].movedim(0, -1).numpy()
    shown = {
        f"Sentinel-2, {_GSD_M:g} m": np.clip(colours / np.quantile(colours, 0.99), 0, 1),
        "its light on film": _grey(pan / pan.quantile(0.98) * 255),
    }
    for ax, (title, picture) in zip(axes, shown.items(), strict=False):
        ax.imshow(picture)
        ax.set_title(title, fontsize=8, loc="left")
    for ax in axes:
        ax.axis("off")


def _draw_effects(figure: SubFigure, pan: Tensor, lines: int) -> None:
    """Each effect alone, at the low and the high end of its range."""
    axes = iter(figure.subplots(lines, _COLUMNS, squeeze=False).flat)
    light = pan / pan.flatten().quantile(0.98)
    sky = light.flatten().quantile(0.05)
    for name, effect in EFFECTS.items():
        for value in (effect.low, effect.high):
            ax = next(axes)
            ax.imshow(_grey(_alone(light, sky, name, value)))
            ax.set_title(_title(name, value, effect), fontsize=7, loc="left")
            ax.axis("off")
    for ax in axes:
        ax.axis("off")


def _alone(light: Tensor, sky: Tensor, name: str, value: float) -> Tensor:
    given: Mapping[str, float] = {key: e.usual for key, e in EFFECTS.items()} | {name: value}
    gsd_m = _SHOWN_AT_M.get(name, _GSD_M)
    params = {key: torch.tensor([v]) for key, v in {**given, "gsd_m": gsd_m}.items()}
    film = RandomFilm(resolution_m=6.0)
    counts: Tensor = film.forward(light, params={**params, "sky": sky.view(1)})
    return counts


def _title(name: str, value: float, effect: Effect) -> str:
    at = f" at {_SHOWN_AT_M[name]:g} m" if name in _SHOWN_AT_M else ""
    end = "low" if value == effect.low else "high"
    return f"{name} {value:g} ({end}){at}"


def _draw_films(
    figure: SubFigure, image: Tensor, bands: tuple[Band, ...], cameras: list[Sensor]
) -> None:
    """Random films of each camera."""
    axes = figure.subplots(len(cameras), _COLUMNS, squeeze=False)
    for row, camera in zip(axes, cameras, strict=True):
        many = image.expand(_COLUMNS, -1, -1, -1)
        gsd_m = torch.full((_COLUMNS,), _GSD_M)
        films, _ = to_film(many, many.flatten(2), bands, gsd_m, camera=camera)
        row[0].set_title(camera.id, fontsize=8, loc="left")
        for ax, film in zip(row, films, strict=True):
            ax.imshow(_grey(film))
            ax.axis("off")


def _grey(counts: Tensor) -> NDArray[np.uint8]:
    """Counts of one image as a grey picture (H, W, 3)."""
    grey = counts.reshape(counts.shape[-2:]).clamp(0, 255).to(torch.uint8).numpy()
    return np.repeat(grey[..., None], 3, axis=-1)
