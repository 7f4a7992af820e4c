"""A picture of where several models map one scene differently."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.colors import to_rgb
from matplotlib.patches import Patch, Rectangle

from geoseg.errors import SceneError
from geoseg.labels import IGNORE
from geoseg.report.drawing import empty_figure, literal, model_styles, png_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

    from geoseg.labels import ClassScheme

__all__ = ["DifferenceMap", "draw_differences"]

_WIDTH_IN = 13.0
_MOST_COLUMNS = 4  # panels in a line: with more, a lake is a dot
_TALLEST = 1.4  # height of a panel, of its width
_BAR = 0.3  # the most of the width that a scale bar takes
_ALL_RIGHT, _SOME_RIGHT, _NONE_RIGHT, _UNSCORED = "#e6e6e6", "#a8a8a8", "#333333", "#ffffff"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class DifferenceMap:
    """One scene, its truth, and what each model made of it, on the same pixels."""

    scene_id: str
    backdrop: NDArray[np.uint8]  # (H, W, 3), how the scene looks
    truth: NDArray[np.uint8]  # (H, W) class ids, 255 where not known
    mapped: Mapping[str, NDArray[np.uint8]]  # (H, W) by model, 255 where not mapped
    gsd_m: float

    def __post_init__(self) -> None:
        shapes = {"backdrop": self.backdrop.shape[:2], "truth": self.truth.shape}
        shapes |= {model: own.shape for model, own in self.mapped.items()}
        if len(set(shapes.values())) > 1 or self.truth.ndim != 2:
            told = ", ".join(f"{name} {shape}" for name, shape in shapes.items())
            raise SceneError(
                f"The maps of scene {self.scene_id!r} are not on the same pixels ({told}); read "
                "them on one grid."
            )


def draw_differences(scene: DifferenceMap, scheme: ClassScheme, models: Sequence[str]) -> bytes:
    """A PNG: the image, the truth, the map of each model, and who is right where.

    Args:
        scene: what is drawn.
        scheme: gives the colours of classes.
        models: all models of the report in order, which gives them their colours.
    """
    colours = {name: colour for name, (colour, _) in model_styles(models).items()}
    categories, legend = _who_is_right(scene, colours)
    classes = _palette({c.id: c.colour for c in scheme.classes})
    panels = {
        "Image": scene.backdrop,
        "Truth": classes[scene.truth],
        **{literal(name): classes[own] for name, own in scene.mapped.items()},
        "Who is right": categories,
    }
    figure = _figure(len(panels), scene.truth.shape)
    grid = figure.axes
    for axes, (title, picture) in zip(grid, panels.items(), strict=False):
        axes.imshow(picture, interpolation="nearest")
        axes.set_title(title, loc="left", fontsize=11)
    _scale_bar(grid[0], scene)
    patches = [
        Patch(facecolor=c.colour, edgecolor="0.6", label=c.name.replace("_", " "))
        for c in scheme.classes
    ]
    figure.legend(
        handles=patches, title="Classes", loc="outside lower left", ncols=3, alignment="left"
    )
    figure.legend(
        handles=legend, title="Who is right", loc="outside lower right", ncols=2, alignment="left"
    )
    return png_of(figure)


def _who_is_right(
    scene: DifferenceMap, colours: Mapping[str, str]
) -> tuple[NDArray[np.uint8], list[Patch]]:
    """Colours (H, W, 3) by which models are right, and the legend with their shares of pixels."""
    maps = np.stack([scene.truth, *scene.mapped.values()])
    scored = (maps != IGNORE).all(axis=0)
    right = maps[1:] == maps[0]
    count = right.sum(axis=0)
    every = len(scene.mapped)
    groups = [("all models", _ALL_RIGHT, count == every)]
    groups += [
        (f"only {name}", colours[name], own & (count == 1) & (every > 1))
        for name, own in zip(scene.mapped, right, strict=True)
    ]
    if every > 2:
        groups.append(("several, not all", _SOME_RIGHT, (count > 1) & (count < every)))
    groups.append(("none", _NONE_RIGHT, count == 0))
    picture = np.full((*scored.shape, 3), _rgb(_UNSCORED), dtype=np.uint8)
    legend = []
    for words, colour, where in groups:
        picture[where & scored] = _rgb(colour)
        share = (where & scored).sum() / max(scored.sum(), 1)
        label = literal(f"{words} ({share:.1%})")
        legend.append(Patch(facecolor=colour, edgecolor="0.6", label=label))
    legend.append(Patch(facecolor=_UNSCORED, edgecolor="0.6", label="not scored"))
    return picture, legend


def _figure(panels: int, shape: tuple[int, ...]) -> Figure:
    """A figure with an axes for each panel, in lines of like length."""
    lines = math.ceil(panels / _MOST_COLUMNS)
    columns = math.ceil(panels / lines)
    width = _WIDTH_IN / columns
    height = width * min(shape[0] / shape[1], _TALLEST)
    figure = empty_figure(_WIDTH_IN, lines * (height + 0.35) + 1.2)
    for axes in figure.subplots(lines, columns, squeeze=False).ravel():
        axes.set(xticks=[], yticks=[])
    for axes in figure.axes[panels:]:
        axes.remove()
    return figure


def _scale_bar(axes: Axes, scene: DifferenceMap) -> None:
    """A bar of a round length in the lower left of the image."""
    height, width = scene.truth.shape
    most = _BAR * width * scene.gsd_m
    step = 10 ** math.floor(math.log10(most))
    length = max(n for n in (step, 2 * step, 5 * step) if n <= most)
    words = f"{length / 1000:g} km" if length >= 1000 else f"{length:g} m"
    axes.add_patch(
        Rectangle(
            (0.03 * width, 0.95 * height),
            length / scene.gsd_m,
            0.02 * height,
            facecolor="white",
            edgecolor="black",
        )
    )
    axes.annotate(
        words,
        (0.03 * width, 0.95 * height),
        xytext=(0, 3),
        textcoords="offset points",
        va="bottom",
        fontsize=10,
        bbox={"facecolor": "white", "alpha": 0.75, "edgecolor": "none", "pad": 1.5},
    )


def _palette(colours: Mapping[int, str]) -> NDArray[np.uint8]:
    """Colours (256, 3) by class id, white for what is no class."""
    palette = np.full((256, 3), 255, dtype=np.uint8)
    for i, colour in colours.items():
        palette[i] = _rgb(colour)
    return palette


def _rgb(colour: str) -> NDArray[np.uint8]:
    return np.array([round(255 * share) for share in to_rgb(colour)], dtype=np.uint8)
