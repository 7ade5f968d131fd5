"""Between photographs and arrays: what Python code may hand in, and what the tools take."""

import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias, TypeGuard

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from rlrestore.errors import ImageError, UsageError
from rlrestore.imaging.io.decoding import from_image
from rlrestore.imaging.io.files import read_photo
from rlrestore.imaging.io.photo import Photo
from rlrestore.imaging.io.samples import BAND_ROWS, Floats, luma, to_floats, to_integers

if TYPE_CHECKING:
    import torch
    from torch import Tensor

PhotoLike: TypeAlias = "str | os.PathLike[str] | Photo | Image.Image | NDArray[Any] | Tensor"
"""A path, a `Photo`, a Pillow image, an array `(H, W, 3)` or `(H, W)`, or a tensor `(3, H, W)` or
`(1, 3, H, W)`."""

SMALLEST_SIDE = 8


def as_photo(source: PhotoLike) -> Photo:
    """Return any kind of photograph as a `Photo`.

    Args:
        source: Whole samples (uint8, uint16) span the range of their type, floats lie in [0, 1].

    Raises:
        ImageError: The file cannot be read, or the photograph is smaller than 8×8.
        UsageError: Not a photograph: another type or shape, or values that are not finite.
    """
    if isinstance(source, Photo):
        return source
    if isinstance(source, str | os.PathLike):
        return read_photo(source)
    if isinstance(source, Image.Image):
        return from_image(source)
    if is_tensor(source):
        planes = source[0] if source.ndim == 4 and len(source) == 1 else source
        if planes.ndim != 3 or planes.shape[0] != 3:
            raise UsageError(f"expected a tensor (3, H, W) or (1, 3, H, W), got {tuple(source.shape)}")
        known = planes.float() if planes.is_floating_point() and planes.itemsize < 4 else planes
        return _from_array(known.detach().permute(1, 2, 0).cpu().numpy())
    if isinstance(source, np.ndarray):
        return _from_array(source)
    raise UsageError(
        f"expected a path, a Photo, a Pillow image, an array or a tensor, got {type(source).__name__}"
    )


def as_given(source: PhotoLike) -> Callable[[Photo], Any]:
    """Return what makes of a `Photo` the kind of thing that was handed in, without keeping that.

    An array or a tensor comes back with its own shape, type and device; anything else as a Pillow image of 8
    bits.
    """
    if is_tensor(source):
        return AsTensor(source.dtype, source.device, batched=source.ndim == 4)
    if isinstance(source, np.ndarray):
        return AsArray(source.dtype, flat=source.ndim == 2)
    return Photo.to_image


@dataclass(frozen=True)
class AsArray:
    """Makes of a `Photo` an array of a type, `(H, W)` where it is flat."""

    dtype: np.dtype[Any]
    flat: bool

    def __call__(self, photo: Photo) -> NDArray[Any]:
        """Return the samples of a photo."""
        array = _to_array(photo, self.dtype)
        return array[..., 0] if self.flat else array


@dataclass(frozen=True)
class AsTensor:
    """Makes of a `Photo` a tensor of a type on a device, `(1, 3, H, W)` where it is batched."""

    dtype: "torch.dtype"
    device: "torch.device"
    batched: bool

    def __call__(self, photo: Photo) -> "Tensor":
        """Return the samples of a photo."""
        import torch

        known = torch.float32 if self.dtype.is_floating_point else self.dtype
        sample = torch.empty(0, dtype=known).numpy().dtype
        planes = torch.from_numpy(_to_array(photo, sample)).permute(2, 0, 1).to(self.device, self.dtype)
        return planes[None] if self.batched else planes


def is_tensor(source: object) -> TypeGuard["Tensor"]:
    """Return whether this is a torch tensor, without loading torch: where it is not loaded, there is none."""
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(source, torch.Tensor)


def _to_array(photo: Photo, dtype: np.dtype[Any]) -> NDArray[Any]:
    """Return `(H, W, 3)` samples, or `(H, W, 1)` of a greyscale photo, as whole numbers or as floats."""
    if not np.issubdtype(dtype, np.floating):
        return photo.samples(8 * dtype.itemsize)
    return (luma(photo.pixels) if photo.greyscale else photo.pixels).astype(dtype)


def _from_array(array: NDArray[Any]) -> Photo:
    array = array.astype(array.dtype.newbyteorder("="), copy=False)
    greyscale = array.ndim == 2
    samples = np.repeat(array[..., None], 3, axis=2) if greyscale else array
    if samples.ndim != 3 or samples.shape[2] != 3:
        raise UsageError(f"expected an array (H, W, 3) or (H, W), got {array.shape}")
    if min(samples.shape[:2]) < SMALLEST_SIDE:
        raise ImageError(
            f"expected at least {SMALLEST_SIDE}×{SMALLEST_SIDE} pixels, "
            f"got {samples.shape[1]}×{samples.shape[0]}"
        )
    if samples.dtype in (np.uint8, np.uint16):
        return Photo(to_floats(samples), greyscale=greyscale, depth_bits=8 * samples.dtype.itemsize)
    if not np.issubdtype(samples.dtype, np.floating):
        raise UsageError(f"expected uint8, uint16 or floats in [0, 1], got {array.dtype}")
    if not np.isfinite(samples).all():
        raise UsageError("expected finite values in [0, 1], got a NaN or an infinity")
    low, high = float(samples.min()), float(samples.max())
    if low < 0 or high > 1:
        raise UsageError(
            f"expected floats in [0, 1], got {low:g} to {high:g}; scale them, or hand in whole numbers"
        )
    return Photo(np.array(samples, dtype=np.float32), greyscale=greyscale)


def to_planes(photo: Photo) -> Floats:
    """Return the pixels as `(1, 3, H, W)`, sharing their memory."""
    return photo.pixels.transpose(2, 0, 1)[None]


def with_planes(photo: Photo, image: Floats) -> Photo:
    """Return the photo with the pixels of `(1, 3, H, W)`, which are clipped to [0, 1] in place."""
    np.clip(image, 0, 1, out=image)
    return photo.with_pixels(np.ascontiguousarray(image[0].transpose(1, 2, 0)))


def to_frame(image: Floats) -> NDArray[np.uint8]:
    """Return `(1, 3, H, W)` clipped and rounded to `(H, W, 3)` uint8."""
    pixels = image[0].transpose(1, 2, 0)
    frame = np.empty(pixels.shape, np.uint8)
    for top in range(0, len(frame), BAND_ROWS):  # so that no second copy in floats is made
        frame[top : top + BAND_ROWS] = to_integers(pixels[top : top + BAND_ROWS])
    return frame


def to_change(photo: Photo, copied: bool) -> Floats:
    """Return the pixels as `(1, 3, H, W)` that may be changed, copied where that is asked for or needed."""
    planes = to_planes(photo)
    return planes.copy(order="K") if copied or not planes.flags.writeable else planes
