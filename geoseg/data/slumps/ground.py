"""Which images show the same ground, where nobody says where they lie."""

from __future__ import annotations

from itertools import groupby
from typing import TYPE_CHECKING

import numpy as np
from scipy import ndimage
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

__all__ = ["same_ground"]

_POINTS = 60  # corners and blobs of an image, at most
_AROUND = 12  # px to each side of one
_EVERY = 3  # px, of those that are compared
_ALIKE = 0.93  # correlation of two surroundings
_TOGETHER = 6  # points that have to agree on how one image lies on the other
_WITHIN = 2  # px
_BLOCK = 2048  # points that are compared with all others at a time


def same_ground(images: Sequence[NDArray[np.uint8]]) -> NDArray[np.int32]:
    """Numbers (N,) of images (H, W, 3): those of one number show the same ground, in part at least.

    Cuts of one mosaic have the same pixels where they overlap, whatever JPEG did to them since. So
    the surroundings of the points that stand out of each image are compared with those of all
    others; six points that agree on the offset make two images one ground, and so on from image to
    image. Another acquisition, scale or turn of the same ground is not found.
    """
    if not images:
        return np.empty(0, dtype=np.int32)
    patches, image, at = _points(images)
    links = {
        pair
        for pair, offsets in _by_pair(_matches(patches, image, at))
        if _most_together(offsets) >= _TOGETHER
    }
    one, other = np.array(sorted(links), dtype=np.intp).reshape(-1, 2).T
    graph = coo_matrix((np.ones(len(one)), (one, other)), shape=(len(images), len(images)))
    return np.asarray(connected_components(graph, directed=False)[1], dtype=np.int32)


def _points(
    images: Sequence[NDArray[np.uint8]],
) -> tuple[NDArray[np.float32], NDArray[np.intp], NDArray[np.intp]]:
    """Surroundings (P, D) of norm 1 of points, the image (P,) of each, and where it is (P, 2)."""
    found = [_points_of(pixels.mean(axis=2, dtype=np.float32)) for pixels in images]
    number = np.repeat(np.arange(len(images)), [len(at) for _, at in found])
    patches, at = (np.concatenate(part) for part in zip(*found, strict=True))
    return patches, number, at


def _points_of(grey: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.intp]]:
    contrast = np.abs(ndimage.gaussian_filter(grey, 1.5) - ndimage.gaussian_filter(grey, 4.0))
    top = (contrast == ndimage.maximum_filter(contrast, 9)) & (contrast > 0)
    inner = np.zeros_like(top)
    inner[_AROUND:-_AROUND, _AROUND:-_AROUND] = True
    at = np.argwhere(top & inner)
    at = at[np.argsort(-contrast[tuple(at.T)], kind="stable")[:_POINTS]]
    by = np.arange(-_AROUND, _AROUND, _EVERY)
    rows, columns = at[:, 0, None, None] + by[:, None], at[:, 1, None, None] + by
    # Without what is slow: slopes of brightness look alike everywhere.
    detail = ndimage.gaussian_filter(grey, 1.0) - ndimage.gaussian_filter(grey, 8.0)
    patches = detail[rows, columns].reshape(len(at), len(by) ** 2)
    patches = patches - patches.mean(axis=1, keepdims=True)
    norm = np.linalg.norm(patches, axis=1)
    plain = norm < 1
    return (patches / np.maximum(norm, 1)[:, None])[~plain].astype(np.float32), at[~plain]


def _matches(
    patches: NDArray[np.float32], image: NDArray[np.intp], at: NDArray[np.intp]
) -> Iterator[tuple[tuple[int, int], NDArray[np.intp]]]:
    """Pair of images, and the offset (2,) between two points of theirs that look alike."""
    for first in range(0, len(patches), _BLOCK):
        alike = patches[first : first + _BLOCK] @ patches[first:].T > _ALIKE
        one, other = np.nonzero(alike)
        one, other = one + first, other + first
        for i, j in zip(one.tolist(), other.tolist(), strict=True):
            if image[i] < image[j]:
                yield (int(image[i]), int(image[j])), at[i] - at[j]


def _by_pair(
    matches: Iterator[tuple[tuple[int, int], NDArray[np.intp]]],
) -> Iterator[tuple[tuple[int, int], NDArray[np.intp]]]:
    ordered = sorted(matches, key=lambda match: match[0])
    for pair, of_it in groupby(ordered, key=lambda match: match[0]):
        yield pair, np.array([offset for _, offset in of_it])


def _most_together(offsets: NDArray[np.intp]) -> int:
    """How many of the offsets (n, 2) lie within some pixels of one of them."""
    apart = np.abs(offsets[:, None] - offsets[None]).max(axis=2)
    return int((apart <= _WITHIN).sum(axis=1).max())
