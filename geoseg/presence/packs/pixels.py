"""Pixels of one image from the bytes that they are stored as, which may come from anybody."""

from __future__ import annotations

import io
import struct
from functools import lru_cache
from tokenize import TokenError
from typing import TYPE_CHECKING

import numpy as np
import torch
from PIL import Image

from geoseg.chips import Chip
from geoseg.errors import SceneError
from geoseg.labels import IGNORE

if TYPE_CHECKING:
    from datetime import datetime

    from numpy.typing import NDArray
    from torch import Tensor

    from geoseg.presence.packs.kind import ImageKind
    from geoseg.sensors import Band

__all__ = [
    "MOST_BYTES",
    "Palette",
    "as_chip",
    "decode",
    "decode_mask",
    "ids_said",
    "npy_bytes",
    "on_scale",
]

MOST_BYTES = 2**26  # of an image, stored or decoded: a chip of 2048 px and 8 bands of 16 bits
_MOST_VALUES = 2**25
_PNG = b"\x89PNG\r\n\x1a\n"
_END = b"IEND\xaeB`\x82"
_GREY, _COLOUR, _PALETTE = 0, 2, 3  # colour types of PNG; 4 more: with alpha
_ALPHA = 4
_CHANNELS = {_GREY: 1, _COLOUR: 3, _PALETTE: 4, _GREY + _ALPHA: 2, _COLOUR + _ALPHA: 4}
# What Pillow raises on a file that is damaged.
_BROKEN = (OSError, ValueError, SyntaxError, struct.error, Image.DecompressionBombError)


class Palette:
    """What is usual in images of one kind, looked up once for all of them."""

    def __init__(self, kind: ImageKind, pixels: NDArray[np.float32]) -> None:
        self.kind = kind
        self.pixels: Tensor = torch.from_numpy(np.ascontiguousarray(pixels))
        self.bands: tuple[Band, ...] = kind.measured()


def decode(stored: bytes, suffix: str) -> NDArray[np.generic]:
    """Stored values (C, H, W) of an image.

    A PNG may have 1 to 8 bits or 16, be grey or coloured, with alpha or not, which is then the last
    channel; one with a table of colours becomes red, green, blue and, where it has that,
    alpha. A .npy file holds (H, W) or (C, H, W), of numbers; a pickled one is refused.

    Args:
        stored: the bytes of the file.
        suffix: png or npy.

    Raises:
        SceneError: damaged, or larger than 64 MiB.
    """
    if len(stored) > MOST_BYTES:
        raise SceneError(f"it has {len(stored)} bytes; an image has at most {MOST_BYTES}.")
    return _decode_png(stored) if suffix.lower() == "png" else _decode_npy(stored)


def decode_mask(stored: bytes, shape: tuple[int, ...]) -> NDArray[np.uint8]:
    """Class ids (H, W) of a mask, IGNORE where unknown.

    Grey values as they are, the indices of a table of colours, 0 and 1 of a PNG of one bit.

    Args:
        stored: the bytes of a PNG.
        shape: (H, W) of its image.

    Raises:
        SceneError: damaged, of several channels or another shape, or with ids beyond 255.
    """
    depth, colour = _checked_header(stored)
    if colour not in {_GREY, _PALETTE}:
        raise SceneError("a mask has one channel and this one several; save it as grey.")
    try:
        with Image.open(io.BytesIO(stored), formats=["PNG"]) as picture:
            ids = np.asarray(picture)
    except _BROKEN as error:
        raise SceneError(f"it is a damaged PNG ({error}).") from error
    if ids.shape != shape:
        raise SceneError(f"the mask has {ids.shape} px and its image {shape}.")
    if ids.max() > IGNORE:
        raise SceneError(f"it holds {ids.max()}; class ids go to {IGNORE}, which is unknown.")
    if colour == _GREY and depth in {2, 4}:
        ids = ids // (255 // (2**depth - 1))  # which Pillow spreads over 8 bits
    return ids.astype(np.uint8)


def ids_said(mask: NDArray[np.uint8], valid: NDArray[np.bool_] | None) -> frozenset[int]:
    """Class ids of a mask (H, W), with IGNORE only where its image shows something.

    Of the other pixels nobody could know more.

    Args:
        mask: class ids, IGNORE where unknown.
        valid: where its image is (H, W); it all is when None.
    """
    told = mask if valid is None else mask[valid | (mask != IGNORE)]
    return frozenset(np.unique(told).tolist())


def npy_bytes(image: NDArray[np.generic]) -> bytes:
    """An image (C, H, W) as the bytes of a .npy file."""
    file = io.BytesIO()
    np.lib.format.write_array(file, np.ascontiguousarray(image), allow_pickle=False)
    return file.getvalue()


def on_scale(
    stored: NDArray[np.generic], kind: ImageKind
) -> tuple[NDArray[np.float32], NDArray[np.bool_] | None]:
    """Pixels (C, H, W) in the unit of their kind, 0 where not valid, and which are valid (H, W).

    A pixel is valid where no band is NaN, infinite or the nodata value of its kind and, when the
    image has one channel more than the kind has bands, where that channel (alpha) is not 0. None
    in place of a mask: all are.

    Raises:
        SceneError: as many bands as the kind has not.
    """
    count = len(kind.bands)
    if len(stored) not in {count, count + 1}:
        raise SceneError(
            f"it has {len(stored)} bands and {kind.sensor_id} images here have {count} "
            f"({', '.join(kind.bands)}); name its bands with --bands, or pack it apart."
        )
    missing = None if len(stored) == count else stored[count] == 0
    bands = stored[:count]
    if kind.nodata is not None:
        void = (bands == kind.nodata).any(axis=0)
        missing = void if missing is None else missing | void
    image = bands.astype(np.float32)
    if bands.dtype.kind == "f":
        unknown = ~np.isfinite(image).all(axis=0)
        missing = unknown if missing is None else missing | unknown
    if kind.scale != 1:
        image *= np.float32(kind.scale)
    if missing is None or not missing.any():
        return image, None
    image[:, missing] = 0
    return image, ~missing


def as_chip(
    stored: NDArray[np.generic],
    palette: Palette,
    time: datetime,
    label: NDArray[np.uint8] | None = None,
) -> Chip:
    """An image as a network takes it.

    Args:
        stored: (C, H, W), as it was decoded.
        palette: of its kind.
        time: of acquisition.
        label: class ids (H, W), IGNORE where unknown; nothing is known when None.

    Raises:
        SceneError: its bands are not those of its kind.
    """
    image, valid = on_scale(stored, palette.kind)
    shape = image.shape[1:]
    return Chip(
        image=torch.from_numpy(image),
        valid=_all_valid(shape) if valid is None else torch.from_numpy(valid),
        label=_unknown(shape) if label is None else torch.from_numpy(label),
        palette=palette.pixels,
        bands=palette.bands,
        gsd_m=palette.kind.gsd_m,
        time=time,
        sensor_id=palette.kind.sensor_id,
    )


# Shared by all images of one shape: nobody writes into them, and a batch copies.
@lru_cache(maxsize=64)
def _all_valid(shape: tuple[int, int]) -> Tensor:
    return torch.ones(shape, dtype=torch.bool)


@lru_cache(maxsize=64)
def _unknown(shape: tuple[int, int]) -> Tensor:
    return torch.full(shape, IGNORE, dtype=torch.uint8)


def _decode_png(stored: bytes) -> NDArray[np.generic]:
    depth, colour = _checked_header(stored)
    if depth == 16 and colour != _GREY:
        return _decode_deep_png(stored)
    try:
        with Image.open(io.BytesIO(stored), formats=["PNG"]) as picture:
            mode = picture.mode
            plain: Image.Image = picture
            if mode == "P":
                plain = picture.convert("RGBA" if "transparency" in picture.info else "RGB")
            elif mode == "1":
                plain = picture.convert("L")
            pixels = np.asarray(plain)
    except _BROKEN as error:
        raise SceneError(f"it is a damaged PNG ({error}).") from error
    if mode.startswith("I"):
        pixels = pixels.astype(np.uint16)
    return pixels[None] if pixels.ndim == 2 else np.moveaxis(pixels, -1, 0)


def _checked_header(stored: bytes) -> tuple[int, int]:
    """Bits and colour type of a PNG that has an end.

    Before a byte is decoded: a few kB may claim to be a picture of gigabytes.
    """
    if len(stored) < 33 or not stored.startswith(_PNG) or stored[12:16] != b"IHDR":
        raise SceneError("it is no PNG.")
    width, height, depth, colour = struct.unpack(">IIBB", stored[16:26])
    channels = _CHANNELS.get(colour)
    if channels is None or not 0 < width * height * channels <= _MOST_VALUES:
        raise SceneError(f"it claims to be a PNG of {width} x {height} px; that is no chip.")
    if _END not in stored[-64:]:  # GDAL does not miss it
        raise SceneError("it is a damaged PNG (cut short).")
    return depth, colour


def _decode_deep_png(stored: bytes) -> NDArray[np.generic]:
    """Of 16 bits and several channels, which Pillow would cut to 8."""
    import warnings

    from rasterio.errors import NotGeoreferencedWarning, RasterioError
    from rasterio.io import MemoryFile

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", NotGeoreferencedWarning)
            with MemoryFile(stored) as file, file.open(driver="PNG") as raster:
                pixels: NDArray[np.generic] = raster.read()
    except (RasterioError, OSError) as error:
        raise SceneError(f"it is a damaged PNG ({error.__cause__ or error}).") from error
    return pixels


def _decode_npy(stored: bytes) -> NDArray[np.generic]:
    file = io.BytesIO(stored)
    try:
        version = np.lib.format.read_magic(file)
        if version not in {(1, 0), (2, 0)}:
            raise ValueError(f"version {version}")
        read = (
            np.lib.format.read_array_header_1_0
            if version == (1, 0)
            else np.lib.format.read_array_header_2_0
        )
        shape, by_columns, dtype = read(file)
    except (ValueError, EOFError, SyntaxError, TokenError) as error:
        raise SceneError(f"it is no .npy file that can be read ({error}).") from error
    if dtype.kind not in "uifb" or len(shape) not in {2, 3} or 0 in shape:
        raise SceneError(f"it holds {dtype} of shape {shape}; give numbers of (C, H, W).")
    # From the bytes that are there: a header may claim any shape.
    values = stored[file.tell() :]
    if len(values) != int(np.prod(shape, dtype=object)) * dtype.itemsize:
        raise SceneError(f"it is cut short: {len(values)} bytes of {dtype} for shape {shape}.")
    array = np.frombuffer(values, dtype=dtype).reshape(shape, order="F" if by_columns else "C")
    return array[None] if array.ndim == 2 else array
