"""What each kind of file says beside its pixels, in one record."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from PIL import Image

from rlrestore.imaging.io import boxes, ifd, jpeg_segments, photoshop, png_chunks, tiff_samples
from rlrestore.imaging.io.metadata import (
    EXIF_PREFIX,
    ORIENTATION_TAG,
    Metadata,
    block_orientation,
    directory_resolution,
    exif_of_tiff,
    lasting_exif_of,
    orientation,
    resolution_dpi,
    sensible_orientation,
    upright_block,
    xmp_of,
)
from rlrestore.imaging.io.opening import DEEP_CMYK_BITS, Opened, no_pillow_limits
from rlrestore.imaging.io.xmp import upright_packet

_XMP, _ICC, _IPTC, _RESOURCES, _LAYERS = 700, 34675, 33723, 34377, 37724
_PSD_EXIF, _PSD_XMP = 0x0422, 0x0424
_STAMPS = ("b'Created by OpenJPEG", "Created by OpenJPEG")
"""How comments of coders on themselves begin."""
_BMP_EMBEDDED_PROFILE = b"DEBM"


def described(opened: Opened) -> tuple[Metadata, int, list[str]]:
    """Return what a file says, its orientation flag, and notes on what was not read of it."""
    said: dict[str, Any] = {}
    notes = list[str]()
    turn = 1
    # What a PNG says was taken out of it; to ask Pillow all the same would decode it, while all others wait.
    if opened.image is not None and opened.kind != "PNG":
        said, turn = _by_pillow(opened.image)
    if opened.kind == "PNG":
        said, notes = png_chunks.described(opened.chunks)
        turn = block_orientation(said.get("exif") or b"")
    elif opened.directory is not None:
        said, notes = _of_tiff(opened)
        turn = sensible_orientation(opened.directory.whole(ORIENTATION_TAG, 1))
    elif opened.kind in ("JPEG", "MPO"):
        segments, notes = jpeg_segments.described(getattr(opened.image, "applist", ()))
        said |= segments
    elif opened.kind == "JPEG2000":
        said |= boxes.jp2_described(opened.stream)
    elif opened.kind == "AVIF":
        said["colours"] = boxes.avif_colours(opened.stream)
        said["exif"] = boxes.avif_exif(opened.stream) or said["exif"]
    elif opened.kind == "BMP":
        said["icc_profile"] = _bmp_profile(opened)
    elif opened.netpbm is not None:
        said["texts"] = tuple(("Comment", comment) for comment in opened.netpbm.comments)
    metadata, more = tidied(said)
    return metadata, turn, [*notes, *more, *_left_behind(opened, bool(more))]


def of_pillow_image(image: Image.Image) -> tuple[Metadata, int, list[str]]:
    """Return what a Pillow image says of itself, its orientation flag, and notes."""
    said, turn = _by_pillow(image)
    notes = list[str]()
    if image.format in ("JPEG", "MPO"):
        segments, notes = jpeg_segments.described(getattr(image, "applist", ()))
        said |= segments
    elif image.format == "PNG":
        texts = getattr(image, "text", {})
        known = ((key, str(text)) for key, text in texts.items())
        said["texts"] = tuple(text for text in known if text[0] != png_chunks.XMP_KEYWORD)
    tags: Any = getattr(image, "tag_v2", {})
    block = tags.get(_RESOURCES)
    if isinstance(block, bytes):
        said["photoshop"] = photoshop.joined(list(photoshop.resources(block)))
    metadata, more = tidied(said)
    return metadata, turn, [*notes, *more]


def tidied(said: dict[str, Any]) -> tuple[Metadata, list[str]]:
    """Return a record of what was said, upright, and notes on what had to go."""
    metadata = Metadata(**said)
    notes = []
    if metadata.exif:
        metadata = replace(metadata, exif=upright_block(metadata.exif.removeprefix(EXIF_PREFIX)))
        if metadata.exif is None:
            notes.append("its EXIF is damaged and was left out")
    if metadata.xmp:
        packet, announced = upright_packet(metadata.xmp)
        metadata = replace(metadata, xmp=packet)
        if announced:
            notes.append(f"what its XMP announces behind the picture was left out: {', '.join(announced)}")
    return metadata, notes


def _by_pillow(image: Image.Image) -> tuple[dict[str, Any], int]:
    """Return what Pillow knows of a file, and its orientation flag."""
    info = image.info
    with no_pillow_limits():
        turn = orientation(image)
        exif = info.get("exif")
        said: dict[str, Any] = {
            "icc_profile": info.get("icc_profile") or None,
            "exif": exif if isinstance(exif, bytes) and exif else lasting_exif_of(image),
            "xmp": xmp_of(image),
            "dpi": resolution_dpi(image),
        }
    comment = info.get("comment") if not str(info.get("comment", "")).startswith(_STAMPS) else None
    comment = comment.decode("utf-8", "replace") if isinstance(comment, bytes) else comment
    if isinstance(comment, str) and comment.strip("\0 "):
        said["texts"] = (("Comment", comment.rstrip("\0")),)
    nclx = info.get("nclx_profile")
    if isinstance(nclx, dict) and not said["icc_profile"]:
        names = ("color_primaries", "transfer_characteristics", "matrix_coefficients", "full_range_flag")
        said["colours"] = boxes.code_points(*(int(nclx.get(name, 2)) for name in names))
    if image.format == "PSD":
        said |= _of_psd(image)
    return said, turn


def _of_psd(image: Image.Image) -> dict[str, Any]:
    known = {int(number): bytes(data) for number, _, data in getattr(image, "resources", ())}
    parts = [(number, data) for number, data in known.items() if number == photoshop.IPTC]
    said = {"photoshop": photoshop.joined(parts), "exif": known.get(_PSD_EXIF), "xmp": known.get(_PSD_XMP)}
    return {name: value for name, value in said.items() if value}


def _of_tiff(opened: Opened) -> tuple[dict[str, Any], list[str]]:
    """Return what the tags of a TIFF say, and notes."""
    directory = opened.directory
    if directory is None:
        return {}, []
    said: dict[str, Any] = {
        "icc_profile": directory.data(_ICC),
        "exif": exif_of_tiff(opened.stream, directory),
        "xmp": directory.data(_XMP),
        "dpi": directory_resolution(directory),
    }
    parts = list(photoshop.resources(directory.data(_RESOURCES) or b""))
    records = directory.data(_IPTC)
    if records and not any(number == photoshop.IPTC for number, _ in parts):
        parts.append((photoshop.IPTC, _in_order(directory, records)))
    said["photoshop"] = photoshop.joined(parts)
    return said, list(_tiff_notes(directory))


def _in_order(directory: ifd.Directory, records: bytes) -> bytes:
    """Return IPTC as it should be: some programs write it as numbers of 32 bits in the file's order."""
    if records[:1] != b"\x1c" and len(records) % 4 == 0 and directory.order == "<":
        return b"".join(records[place : place + 4][::-1] for place in range(0, len(records), 4)).rstrip(b"\0")
    return records.rstrip(b"\0") if directory.entries[_IPTC].kind == ifd.LONG else records


def _tiff_notes(directory: ifd.Directory) -> Iterator[str]:
    shape = tiff_samples.layout(directory)
    if _LAYERS in directory.entries:
        yield "its Photoshop layers were left out"
    beside = len(shape.extras) - (shape.alpha is not None)
    if shape.colours and beside > 0:
        yield f"{beside} channel{'s' * (beside > 1)} beside colour and transparency left out"
    top = max(directory.whole(tiff_samples.LARGEST_SAMPLE), directory.whole(tiff_samples.LARGEST_VALUE))
    if set(shape.bits) == {16} and 255 < top < 2**15:
        yield f"its samples are said to reach {top} of 65535 and were taken as they are: it may look dark"
    if shape.photometric == 5 and set(shape.bits) == DEEP_CMYK_BITS:
        yield "16 bits a sample were read as 8"


def _bmp_profile(opened: Opened) -> bytes | None:
    """Return the profile in a BMP with a header of version 5. Source: Microsoft, BITMAPV5HEADER."""
    opened.stream.seek(14)
    head = opened.stream.read(124)
    if len(head) < 124 or int.from_bytes(head[:4], "little") != 124 or head[56:60] != _BMP_EMBEDDED_PROFILE:
        return None
    place, size = (int.from_bytes(head[at : at + 4], "little") for at in (112, 116))
    opened.stream.seek(14 + place)
    return opened.stream.read(min(size, png_chunks.LARGEST)) or None


def _left_behind(opened: Opened, announced: bool) -> Iterator[str]:
    """Yield what of a file was not read, but for what was `announced` already."""
    image = opened.image
    several = image is not None and opened.kind == "HEIF" and getattr(image, "n_frames", 1) > 1
    if opened.kind == "MPO" or several:
        yield "only the main picture of the file was read"
    if opened.kind in ("AVIF", "HEIF") and boxes.has_gain_map(opened.stream):
        yield "a gain map that belongs to the picture was left out"
    if opened.kind == "JPEG" and not announced and (behind := jpeg_segments.bytes_behind(opened.stream)):
        yield f"{behind} bytes that follow the picture in the file were left out"
    if opened.kind == "SGI":
        opened.stream.seek(3)
        if opened.stream.read(1) == b"\x02":
            yield "16 bits a sample were read as 8"
