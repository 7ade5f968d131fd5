"""TIFF of 8 or 16 bits per sample: Pillow does not write 16 bits in colour, nor EXIF where it compresses.

Source: TIFF revision 6.0 (Adobe 1992); Adobe Photoshop TIFF technical notes (compression 8).
"""

import io
import zlib
from typing import Any

from PIL.TiffImagePlugin import ImageFileDirectory_v2

from rlrestore.imaging.io.metadata import XMP_TAG, lasting_exif
from rlrestore.imaging.io.photo import Photo

_ICC_TAG = 34675


def encode_tiff(photo: Photo) -> bytes:
    """Write a photo as TIFF of its own depth, losslessly compressed, with profile, EXIF, XMP and resolution.

    At 16 bits, greyscale with transparency is written as RGB with transparency: few programs read the former.
    """
    samples = photo.samples(photo.depth_bits)
    if photo.channels == 2 and photo.depth_bits == 16:
        samples = samples[..., [0, 0, 0, 1]]
    strip = zlib.compress(samples.astype(samples.dtype.newbyteorder("<")).tobytes())
    channels = samples.shape[2]
    colours = channels - (photo.alpha is not None)
    tags: dict[int, Any] = {
        256: photo.width,
        257: photo.height,
        258: (photo.depth_bits,) * channels,
        259: 8,  # compressed by zlib
        262: 1 if colours == 1 else 2,  # black is zero; RGB
        273: (0,),  # the one strip follows the directory
        277: channels,
        278: photo.height,
        279: (len(strip),),
    }
    if photo.alpha is not None:
        tags[338] = (2,)  # alpha that the colours are not multiplied with
    if photo.dpi:
        tags |= {282: photo.dpi[0], 283: photo.dpi[1], 296: 2}  # per inch
    tags |= lasting_exif(photo.exif)
    directory = ImageFileDirectory_v2(prefix=b"II")
    for tag, value in ((XMP_TAG, photo.xmp), (_ICC_TAG, photo.icc_profile)):
        if value:
            directory.tagtype[tag] = 1 if tag == XMP_TAG else 7  # bytes
            tags[tag] = value
    for tag, value in tags.items():
        directory[tag] = value
    stream = io.BytesIO()
    directory.save(stream)
    return stream.getvalue() + strip
