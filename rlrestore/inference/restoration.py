"""What comes of a photograph: the pixels, the trace, and what is needed to blend them anew."""

import os
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

from rlrestore.errors import UsageError
from rlrestore.imaging.io.encoding import Quality
from rlrestore.imaging.io.files import write_photo
from rlrestore.imaging.io.photo import Photo
from rlrestore.inference.blending import Parts
from rlrestore.inference.upscaling import enlarged
from rlrestore.trace import Trace


@dataclass(frozen=True)
class Restoration:
    """A restored photograph.

    Attributes:
        photo: The result at its full depth, with all that came with the input (transparency, colour profile,
            EXIF).
        trace: What was done, and why.
        given: What makes of a `Photo` the kind of thing that the input was.
        parts: What it is blended from; None if the original was not kept.
    """

    photo: Photo = field(repr=False)
    trace: Trace
    given: Callable[[Photo], Any] = field(default=Photo.to_image, repr=False)
    parts: Parts | None = field(default=None, repr=False)

    @property
    def image(self) -> Any:
        """The result as it was handed in: an array for an array, a tensor for a tensor.

        For anything else, a path among it, it is a Pillow image of 8 bits a sample.
        """
        return self.given(self.photo)

    def blended(self, strength: float = 1.0, detail: float = 0.0) -> "Restoration":
        """Return the restoration at another strength and detail, without running the chain again.

        The result is original + strength · (restored + detail · lost detail - original), whatever this
        restoration's own strength and detail are. The lost detail is computed the first time that it is asked
        for.

        Args:
            strength: How much of the change is kept: 0 returns the input's pixels exactly, 1 all of it.
            detail: How much of the fine detail that the chain took away is brought back, from 0 to 1.

        Raises:
            UsageError: One of them is not from 0 to 1, or the original was not kept.
        """
        if self.parts is None:
            raise UsageError("expected a restoration with its original: restore with keep_original=True")
        photo = self.photo.with_pixels(self.parts.blend(strength, detail))
        trace = replace(self.trace, strength=strength, detail=detail, blend_psnr_db=None, blend=None)
        return replace(self, photo=photo, trace=trace)

    def enlarged(
        self, scale: int, model: str | os.PathLike[str] = "default", device: str = "cpu"
    ) -> "Restoration":
        """Return the restoration enlarged, as it is now: it cannot be blended any more.

        Args:
            scale: 2 or 3.
            model: Whose tool for that; the shipped one where it has none of its own.
            device: Where to compute.

        Raises:
            UsageError: There is no such enlargement, model or device, or torch is not installed.
            ImageError: The result would have more than 200 megapixels.
        """
        return replace(self, photo=enlarged(self.photo, scale, model, device), parts=None)

    def save(self, path: str | os.PathLike[str], quality: Quality = None) -> tuple[str, ...]:
        """Write the result in the format of the name's suffix, completely or not at all.

        Args:
            path: The file, as in `write_photo`.
            quality: From 1 to 100, for JPEG, AVIF and WebP; `keep` as in `write_photo`.

        Returns:
            Notes on what of the photograph the format cannot hold and was left out.

        Raises:
            ImageError: It cannot be written there.
        """
        return write_photo(path, self.photo, quality)
