"""Image files of every kind, made by other programs than this one."""

import io
import struct
import zlib
from typing import Any

import numpy as np
import numpy.typing as npt
import tifffile
from PIL import Image, ImageCms

Samples = npt.NDArray[Any]

PALETTE = bytes(number * 7 % 256 for number in range(768))
HEIGHT, WIDTH = 24, 40
CHANNELS = {"grey": 1, "grey+alpha": 2, "RGB": 3, "RGB+alpha": 4, "palette": 1, "CMYK": 4, "Lab": 3}


def ramps(channels: int, bits: int) -> Samples:
    """Smooth samples `(H, W, C)` from 0 to the largest of so many bits, other ones in every channel."""
    y, x = np.mgrid[:HEIGHT, :WIDTH] / np.array([HEIGHT - 1, WIDTH - 1])[:, None, None]
    every = np.stack([x, y, (x + y) / 2, 1 - x * y / 2], axis=2)[..., :channels]
    if channels == 2:
        every[..., 1] = 1 - y / 2
    return np.asarray(np.rint(every * (2**bits - 1)).astype(np.uint8 if bits <= 8 else np.uint16))


def squeezed(samples: Samples) -> Samples:
    return samples[..., 0] if samples.shape[2] == 1 else samples


def by_pillow(samples: Samples, image_format: str, mode: str | None = None, **options: Any) -> bytes:
    stream = io.BytesIO()
    image = Image.fromarray(squeezed(samples))
    (image if mode is None else image.convert(mode)).save(stream, image_format, **options)
    return stream.getvalue()


def packed_bits(samples: Samples, bits: int) -> bytes:
    """Rows of samples of so many bits, the high bit first, each row filled up to a byte."""
    values = samples.reshape(len(samples), -1, 1).astype(int) >> np.arange(bits - 1, -1, -1) & 1
    return np.packbits(values.reshape(len(samples), -1).astype(np.uint8), axis=1).tobytes()


def png_chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def with_chunks(png: bytes, *chunks: tuple[bytes, bytes]) -> bytes:
    """Put chunks behind the header of a PNG."""
    return png[:33] + b"".join(png_chunk(*chunk) for chunk in chunks) + png[33:]


def small_png(samples: Samples, bits: int, palette: bool) -> bytes:
    rows = packed_bits(samples, bits)
    step = len(rows) // len(samples)
    data = b"".join(b"\0" + rows[at : at + step] for at in range(0, len(rows), step))
    header = struct.pack(">IIBBBBB", WIDTH, HEIGHT, bits, 3 if palette else 0, 0, 0, 0)
    chunks = [(b"IHDR", header), *([(b"PLTE", PALETTE[: 3 * 2**bits])] if palette else [])]
    chunks += [(b"IDAT", zlib.compress(data)), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(png_chunk(*chunk) for chunk in chunks)


def palette_colours(samples: Samples, bits: int) -> Samples:
    """What the palette shows."""
    table = np.frombuffer(PALETTE[: 3 * 2**bits], np.uint8).reshape(-1, 3)
    return table[samples[..., 0]]


def small_tiff(samples: Samples, bits: int, **tags: int) -> bytes:
    """A TIFF of one uncompressed strip of samples of any depth."""
    rows = packed_bits(samples, bits)
    channels = samples.shape[2]
    values = {
        256: WIDTH,
        257: HEIGHT,
        259: 1,
        262: 1 if channels == 1 else 2,
        273: 8,
        277: channels,
        278: HEIGHT,
        279: len(rows),
    }
    values |= {int(name.removeprefix("tag")): value for name, value in tags.items()}
    start = 8 + len(rows) + len(rows) % 2
    behind = start + 2 + 12 * (len(values) + 1) + 4
    depths = struct.pack(f"<{channels}H", *[bits] * channels)
    entries = {tag: struct.pack("<HHII", tag, 4, 1, value) for tag, value in values.items()}
    place = depths.ljust(4, b"\0") if len(depths) <= 4 else struct.pack("<I", behind)
    entries[258] = struct.pack("<HHI", 258, 3, channels) + place
    table = b"".join(entry for _, entry in sorted(entries.items()))
    head = struct.pack("<2sHI", b"II", 42, start)
    return head + rows.ljust(start - 8, b"\0") + struct.pack("<H", len(entries)) + table + bytes(4) + depths


def tiff(samples: Samples, kind: str, **options: Any) -> bytes:
    stream = io.BytesIO()
    photometric = {"CMYK": "separated", "Lab": "cielab"}.get(
        kind, "rgb" if samples.shape[2] > 2 else "minisblack"
    )
    extras: dict[str, Any] = {"extrasamples": ["unassalpha"]} if kind.endswith("+alpha") else {}
    tifffile.imwrite(stream, squeezed(samples), photometric=photometric, metadata=None, **extras, **options)
    return stream.getvalue()


def sgi(samples: Samples) -> bytes:
    """An SGI file, not compressed, the lowest row first."""
    size = samples.dtype.itemsize
    height, width, channels = samples.shape
    top = 2 ** (8 * size) - 1
    head = struct.pack(">HBBHHHHII", 474, 0, size, 3 if channels > 1 else 2, width, height, channels, 0, top)
    planes = samples[::-1].transpose(2, 0, 1).astype(samples.dtype.newbyteorder(">"))
    return head.ljust(512, b"\0") + planes.tobytes()


def pnm(samples: Samples, top: int) -> bytes:
    kind = b"P5" if samples.shape[2] == 1 else b"P6"
    values = samples.astype(np.uint8 if top < 256 else ">u2")
    return b"%s\n# drawn by hand\n%d %d\n%d\n" % (kind, WIDTH, HEIGHT, top) + values.tobytes()


def heic(samples: Samples, mode: str, bits: int) -> bytes:
    import pillow_heif

    twelve, pillow_heif.options.SAVE_HDR_TO_12_BIT = pillow_heif.options.SAVE_HDR_TO_12_BIT, bits == 12
    try:
        deep = samples.astype(np.uint16) << (16 - bits) if bits > 8 else samples
        picture = pillow_heif.from_bytes(
            mode=mode + (";16" if bits > 8 else ""), size=(WIDTH, HEIGHT), data=deep.tobytes()
        )
        stream = io.BytesIO()
        picture.save(stream, quality=-1, chroma=444, matrix_coefficients=0)
    finally:
        pillow_heif.options.SAVE_HDR_TO_12_BIT = twelve
    return stream.getvalue()


def raw_dng() -> bytes:
    """A camera's raw file as LibRaw develops it: a mosaic of evenly lit grey, and a small preview."""
    mosaic = np.full((64, 96), 8000, np.uint16)
    stream = io.BytesIO()
    matrix = [(round(10000 * value), 10000) for value in (1, 0, 0, 0, 1, 0, 0, 0, 1)]
    flat = [number for pair in matrix for number in pair]
    extra = [
        (271, 2, 0, "Nobody", True),
        (272, 2, 0, "Cam 1", True),
        (33421, 3, 2, (2, 2), True),
        (33422, 1, 4, bytes((0, 1, 1, 2)), True),
        (50706, 1, 4, bytes((1, 4, 0, 0)), True),
        (50707, 1, 4, bytes((1, 4, 0, 0)), True),
        (50708, 2, 0, "Nobody Cam 1", True),
        (50721, 10, 9, flat, True),
        (50728, 5, 3, (1, 1) * 3, True),
        (50778, 3, 1, 21, True),
        (50717, 4, 1, 65535, True),
    ]
    tifffile.imwrite(stream, mosaic, photometric=32803, metadata=None, extratags=extra)
    return stream.getvalue()


SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


def display_p3_values(colours: Samples) -> Samples:
    """Return sRGB values, 0 to 255, of Display P3 values. Source: CSS Color 4, sample code."""
    values = np.asarray(colours) / 255
    linear = np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)
    matrix = np.array([[1.22494, -0.22494, 0], [-0.042057, 1.042057, 0], [-0.019638, -0.078636, 1.098274]])
    linear = np.clip(linear @ matrix.T, 0, 1)
    return np.asarray(
        255 * np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)
    )
