"""TIFF of 8 or 16 bits per sample: Pillow does not write 16 bits in colour, nor EXIF where it compresses.

Source: TIFF revision 6.0 (Adobe 1992); Adobe Photoshop TIFF technical notes (compression 8).
"""

import zlib

from rlrestore.imaging.io import ifd, tiff_samples
from rlrestore.imaging.io.ifd import Entry, Tree, entry
from rlrestore.imaging.io.metadata import RESOLUTION_UNIT, X_RESOLUTION, Y_RESOLUTION, exif_tree
from rlrestore.imaging.io.photo import Photo
from rlrestore.imaging.io.photoshop import iptc

_XMP, _IPTC, _RESOURCES, _ICC = 700, 33723, 34377, 34675
_DEFLATE, _INCH = 8, 2
_HEADER_BYTES = 8


def encode_tiff(photo: Photo) -> bytes:
    """Write a photo as TIFF of its own depth, losslessly compressed, with all that came with it but texts.

    The bytes are in the order of the EXIF block, whose values are written as they are. At 16 bits, greyscale
    with transparency is written as RGB with transparency: few programs read the former.
    """
    order, tags = exif_tree(photo.exif)
    samples = photo.samples(photo.depth_bits)
    if photo.channels == 2 and photo.depth_bits == 16:
        samples = samples[..., [0, 0, 0, 1]]
    strip = zlib.compress(samples.astype(samples.dtype.newbyteorder(order), copy=False).tobytes())
    tags |= _layout(photo, samples.shape[2], order, len(strip))
    if photo.dpi:
        tags[X_RESOLUTION] = entry(order, ifd.RATIONAL, photo.dpi[0])
        tags[Y_RESOLUTION] = entry(order, ifd.RATIONAL, photo.dpi[1])
        tags[RESOLUTION_UNIT] = entry(order, ifd.SHORT, _INCH)
    blocks = {
        _XMP: (ifd.BYTE, photo.xmp),
        _IPTC: (ifd.UNDEFINED, iptc(photo.photoshop)),
        _RESOURCES: (ifd.BYTE, photo.photoshop),
        _ICC: (ifd.UNDEFINED, photo.icc_profile),
    }
    tags |= {tag: entry(order, kind, data) for tag, (kind, data) in blocks.items() if data}
    start = _HEADER_BYTES + len(strip) + len(strip) % 2
    return b"".join((ifd.header(order, start), strip, bytes(len(strip) % 2), ifd.pack(order, tags, start)))


def _layout(photo: Photo, channels: int, order: ifd.Order, length: int) -> dict[int, Entry | Tree]:
    """Return the tags of how the pixels lie: one strip behind the header."""
    colours = channels - (photo.alpha is not None)
    shorts = {
        tiff_samples.BITS: (photo.depth_bits,) * channels,
        tiff_samples.COMPRESSION: (_DEFLATE,),
        tiff_samples.PHOTOMETRIC: (tiff_samples.GREY if colours == 1 else tiff_samples.RGB,),
        tiff_samples.CHANNELS: (channels,),
    }
    if photo.alpha is not None:
        shorts[tiff_samples.EXTRA] = (tiff_samples.UNASSOCIATED,)
    longs = {
        tiff_samples.WIDTH: photo.width,
        tiff_samples.HEIGHT: photo.height,
        tiff_samples.STRIP_OFFSETS: _HEADER_BYTES,
        tiff_samples.STRIP_ROWS: photo.height,
        tiff_samples.STRIP_SIZES: length,
    }
    tags: dict[int, Entry | Tree] = {tag: entry(order, ifd.SHORT, *values) for tag, values in shorts.items()}
    return tags | {tag: entry(order, ifd.LONG, value) for tag, value in longs.items()}
