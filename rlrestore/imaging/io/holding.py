"""What each format that is written can hold, and what of a photo it cannot."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

from rlrestore.errors import ImageError
from rlrestore.imaging.io import jpeg_segments, png_chunks
from rlrestore.imaging.io.colour import profile_for, profile_space
from rlrestore.imaging.io.metadata import exif_resolution
from rlrestore.imaging.io.photo import Photo
from rlrestore.imaging.io.photoshop import iptc

_ANY_SIZE = 2**31 - 1
_ANY_BYTES = 2**31 - 2**16


@dataclass(frozen=True)
class Format:
    """What a format can hold.

    Attributes:
        name: What it is called.
        depths: Bits a sample.
        transparency: Whether it can be transparent.
        greyscale: Whether it has files of one channel.
        deep_grey_alpha: Whether greyscale with transparency stays so at 16 bits.
        largest_side: Pixels.
        exif: Bytes of an EXIF block, 0 for none; so with XMP and a profile.
        xmp: Bytes.
        icc_profile: Bytes.
        dpi: Whether it holds a resolution.
        photoshop: Whether it holds Photoshop's resources, with IPTC.
        keywords: The keywords of its texts; None for any.
        colours: Whether it says colours without a profile.
    """

    name: str
    depths: tuple[int, ...] = (8,)
    transparency: bool = False
    greyscale: bool = True
    deep_grey_alpha: bool = True
    largest_side: int = _ANY_SIZE
    exif: int = 0
    xmp: int = 0
    icc_profile: int = 0
    dpi: bool = False
    photoshop: bool = False
    keywords: tuple[str, ...] | None = ()
    colours: bool = False


_JPEG = Format(
    "JPEG",
    largest_side=65500,
    exif=jpeg_segments.LARGEST_EXIF,
    xmp=jpeg_segments.LARGEST_XMP,
    icc_profile=jpeg_segments.LARGEST_PROFILE,
    dpi=True,
    photoshop=True,
    keywords=("Comment",),
)
_TIFF = Format(
    "TIFF",
    depths=(8, 16),
    transparency=True,
    deep_grey_alpha=False,
    exif=_ANY_BYTES,
    xmp=_ANY_BYTES,
    icc_profile=_ANY_BYTES,
    dpi=True,
    photoshop=True,
)
_PNG = Format(
    "PNG",
    depths=(8, 16),
    transparency=True,
    exif=png_chunks.LARGEST,
    xmp=png_chunks.LARGEST,
    icc_profile=png_chunks.LARGEST,
    dpi=True,
    keywords=None,
    colours=True,
)
_WEBP = Format(
    "WebP",
    transparency=True,
    greyscale=False,
    largest_side=16383,
    exif=_ANY_BYTES,
    xmp=_ANY_BYTES,
    icc_profile=_ANY_BYTES,
)
_AVIF = replace(_WEBP, name="AVIF", largest_side=65536)
BARE = Format("the result")
"""Nothing but 8-bit pixels."""
_BMP, _PPM = Format("BMP", dpi=True), Format("PPM", depths=(8, 16))
FORMATS = {
    ".png": _PNG,
    ".jpg": _JPEG,
    ".jpeg": _JPEG,
    ".webp": _WEBP,
    ".avif": _AVIF,
    ".tif": _TIFF,
    ".tiff": _TIFF,
    ".bmp": _BMP,
    ".ppm": _PPM,
    ".pgm": _PPM,
    ".pnm": _PPM,
}
"""By the suffix of a name."""


def check_holds(photo: Photo, suffix: str, name: str, times: int = 1) -> None:
    """Make sure that a format can hold a photo's transparency and size, to be asked before the work is done.

    Args:
        photo: What is to be written.
        suffix: A key of `FORMATS`.
        name: How to call the file in an error message.
        times: How many times larger its sides will be.

    Raises:
        ImageError: It cannot.
    """
    held = FORMATS[suffix]
    if photo.alpha is not None and not held.transparency:
        raise ImageError(
            f"expected a format that keeps the photo's transparency, but {name} ends in {suffix}; "
            "write .png, .webp or .tif"
        )
    width, height = times * photo.width, times * photo.height
    if max(width, height) > held.largest_side:
        raise ImageError(
            f"expected a format that can hold {width}×{height} pixels, "
            f"but {name} can be {held.largest_side} a side at most; write .png"
        )


def fitted(photo: Photo, suffix: str) -> tuple[Photo, tuple[str, ...]]:
    """Return a photo with only what a format can hold, and at most one note that names what was lost.

    Args:
        photo: What is to be written.
        suffix: A key of `FORMATS`.
    """
    return kept_of(photo, FORMATS[suffix])


def kept_of(photo: Photo, held: Format) -> tuple[Photo, tuple[str, ...]]:
    """Return a photo with only what a format can hold, as `fitted`."""
    kept, lost = _with_profile(photo, held)
    if kept.exif and len(kept.exif) > held.exif:
        lost.append(_too_much("EXIF", kept.exif, held.exif))
        kept = replace(kept, exif=None)
    if kept.xmp and len(kept.xmp) > held.xmp:
        lost.append(_too_much("XMP", kept.xmp, held.xmp))
        kept = replace(kept, xmp=None)
    if kept.dpi and not held.dpi:
        lost += [] if exif_resolution(kept.exif) else ["resolution"]
        kept = replace(kept, dpi=None)
    if kept.photoshop and not held.photoshop:
        lost.append("IPTC" if iptc(kept.photoshop) else "Photoshop's resources")
        kept = replace(kept, photoshop=None)
    texts = tuple(text for text in kept.texts if held.keywords is None or text[0] in held.keywords)
    texts = tuple(
        text
        for text in texts
        if held.keywords is None or len(text[1].encode()) <= jpeg_segments.LARGEST_SEGMENT
    )
    lost += list(_texts_lost(kept, texts))
    kept = replace(kept, texts=texts)
    if kept.depth_bits not in held.depths:
        lost.append(f"{kept.depth_bits} bits a sample (8 are written)")
    if kept.alpha is not None and not held.transparency:
        lost.append("transparency")
    return kept, (f"{held.name} cannot hold all of it, left out: {', '.join(lost)}",) if lost else ()


def _too_much(what: str, data: bytes, limit: int) -> str:
    return f"{what} of {len(data) // 1000} kB (at most {limit // 1000})" if limit else what


def _texts_lost(photo: Photo, kept: tuple[tuple[str, str], ...]) -> Iterator[str]:
    names = list(dict.fromkeys(keyword for keyword, text in photo.texts if (keyword, text) not in kept))
    if names == ["Comment"]:
        yield "comment"
    elif names:
        yield f"texts ({', '.join(names[:5])}{', …' if len(names) > 5 else ''})"


def _with_profile(photo: Photo, held: Format) -> tuple[Photo, list[str]]:
    """Return a photo with the profile that fits a format's samples, and what had to go."""
    becomes_rgb = photo.depth_bits == 16 and photo.alpha is not None and not held.deep_grey_alpha
    greyscale = photo.greyscale and held.greyscale and not becomes_rgb
    lost, profile, said = [], photo.icc_profile, photo.colours
    if profile is not None:
        profile = profile_for(profile, greyscale)
        if profile is None:
            lost.append(f"colour profile (it is for {profile_space(photo.icc_profile or b'')})")
    elif said is not None and not said.usual and not held.colours:
        profile = said.profile(greyscale)
        if profile is None:
            lost.append(f"colours ({said.name})")
    if profile is not None and len(profile) > held.icc_profile:
        lost.append("colour profile" if photo.icc_profile else f"colours ({said.name if said else ''})")
        profile = None
    return replace(photo, icc_profile=profile, colours=said if held.colours else None), lost
