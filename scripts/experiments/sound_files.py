"""Sound files of any depth, orientation and metadata, and a second reader's word on what became of them."""

import io
import json
import random
import struct
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import imagecodecs
import numpy as np
import tifffile
from numpy.typing import NDArray
from PIL import Image, ImageCms

Samples = NDArray[Any]

FACTS = "facts.json"
PICTURE = "upright.npy"
SIZE = (61, 47)
ARTIST = "Zoë 山"
XMP = "<x:xmpmeta xmlns:x='adobe:ns:meta/' tiff:Orientation='{}'><!-- kept --></x:xmpmeta>"
PROFILE = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
CHANNELS = {"grey": 1, "grey+alpha": 2, "RGB": 3, "RGB+alpha": 4}
KINDS: tuple[tuple[str, tuple[int, ...], tuple[str, ...]], ...] = (
    ("png", (8, 16), tuple(CHANNELS)),
    ("tif", (8, 16), tuple(CHANNELS)),
    ("btf", (8, 16), ("grey", "RGB")),
    ("jpg", (8,), ("grey", "RGB")),
    ("webp", (8,), ("RGB", "RGB+alpha")),
    ("avif", (8, 10, 12), ("RGB", "RGB+alpha")),
    ("jp2", (8, 12, 16), ("grey", "RGB")),
    ("ppm", (8, 10, 16), ("grey", "RGB")),
)
WITH_METADATA = frozenset({"png", "tif", "btf", "jpg", "webp"})
"""Inputs that are given EXIF, XMP and a profile."""
KEEPS_DEPTH, KEEPS_METADATA = (
    frozenset({".png", ".tif"}),
    frozenset({".png", ".tif", ".jpg", ".webp", ".avif"}),
)
CLOSEST = 0.5
"""Correlation of a result with the picture that it was made of."""


@dataclass(frozen=True)
class Facts:
    """What is true of a file: its suffix, bits a sample, channels, and which metadata it has."""

    suffix: str
    bits: int
    channels: str
    turn: int
    described: bool


def sound_files(folder: Path, rng: random.Random) -> list[str]:
    """A sound file with metadata, turned or not, at any depth."""
    suffix, depths, kinds = rng.choice(KINDS)
    described = suffix in WITH_METADATA
    turn = rng.randint(1, 8) if described else 1
    facts = Facts(suffix, rng.choice(depths), rng.choice(kinds), turn, described)
    upright = _picture(CHANNELS[facts.channels], facts.bits, rng.randrange(2**32))
    (folder / f"photo.{suffix}").write_bytes(_encoded(_stored(upright, turn), facts))
    np.save(folder.parent / PICTURE, upright)
    (folder.parent / FACTS).write_text(json.dumps(vars(facts)))
    return [str(folder / f"photo.{suffix}")]


def _picture(channels: int, bits: int, seed: int) -> Samples:
    """Paint `(H, W, C)` samples that look different in every orientation."""
    rows, columns = np.mgrid[: SIZE[1], : SIZE[0]] / np.array(SIZE[::-1])[:, None, None]
    values = 0.2 + 0.5 * columns[..., None] * rows[..., None] ** 2 * np.linspace(1, 0.8, channels)
    values += np.random.default_rng(seed).uniform(0, 0.1, values.shape)
    values[:12, :20, : 3 if channels > 2 else 1] = 0.95
    return np.asarray(np.rint(values * (2**bits - 1)).astype(np.uint8 if bits == 8 else np.uint16))


def turned(samples: Samples, turn: int) -> Samples:
    """Turn stored samples upright. Source: EXIF 2.32, tag Orientation."""
    samples = samples.transpose(1, 0, 2) if turn > 4 else samples
    samples = samples[::-1] if turn in (3, 4, 7, 8) else samples
    return samples[:, ::-1] if turn in (2, 3, 6, 7) else samples


def _stored(upright: Samples, turn: int) -> Samples:
    """Return samples that a flag turns upright: of all eight ways those that come out so."""
    numbers = np.arange(upright.shape[0] * upright.shape[1]).reshape(*upright.shape[:2], 1)
    for other in range(1, 9):
        if np.array_equal(turned(turned(numbers, other), turn), numbers):
            return np.ascontiguousarray(turned(upright, other))
    raise AssertionError(turn)


def _encoded(samples: Samples, facts: Facts) -> bytes:
    """Encode by another program than the one that is tried."""
    flat = samples[..., 0] if samples.shape[2] == 1 else samples
    xmp, exif = XMP.format(facts.turn).encode(), Image.Exif()
    exif[0x0112], exif[0x013B] = facts.turn, ARTIST.encode()
    if facts.suffix in ("tif", "btf"):
        extra = [
            (274, 3, 1, facts.turn, True),
            (315, 2, 0, ARTIST.encode(), True),
            (700, 1, len(xmp), xmp, True),
        ]
        stream = io.BytesIO()
        options: dict[str, Any] = {
            "extratags": extra,
            "iccprofile": PROFILE,
            "bigtiff": facts.suffix == "btf",
        }
        options |= {"extrasamples": ["unassalpha"]} if facts.channels.endswith("alpha") else {}
        options |= {"photometric": "rgb" if samples.shape[2] > 2 else "minisblack", "compression": "lzw"}
        tifffile.imwrite(stream, flat, metadata=None, predictor=True, **options)
        return stream.getvalue()
    if facts.suffix == "png":
        content = bytes(imagecodecs.png_encode(flat))
        chunks = [(b"eXIf", exif.tobytes()[6:]), (b"iCCP", b"p\0\0" + zlib.compress(PROFILE))]
        chunks.append((b"iTXt", b"XML:com.adobe.xmp" + bytes(5) + xmp))
        return content[:33] + b"".join(_chunk(*chunk) for chunk in chunks) + content[33:]
    if facts.suffix in ("jpg", "webp"):
        stream = io.BytesIO()
        options = {"exif": exif.tobytes(), "xmp": xmp, "icc_profile": PROFILE, "quality": 95}
        name = "JPEG" if facts.suffix == "jpg" else "WEBP"
        Image.fromarray(flat).save(stream, name, **options, lossless=True, exact=True)
        return stream.getvalue()
    if facts.suffix == "ppm":
        head = b"P%d\n%d %d\n%d\n" % (5 if flat.ndim == 2 else 6, *SIZE, 2**facts.bits - 1)
        return head + (samples if facts.bits == 8 else samples.astype(">u2")).tobytes()
    if facts.suffix == "avif":
        return bytes(imagecodecs.avif_encode(flat, level=100, bitspersample=facts.bits))
    return bytes(imagecodecs.jpeg2k_encode(flat, level=0, reversible=True, bitspersample=facts.bits))


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def problems(folder: Path, out: Path, said: str) -> list[str]:
    """Return what is wrong with the result of a sound file; nothing where there was none.

    Args:
        folder: Where the inputs lie.
        out: Where the result lies.
        said: What the command said on stderr.
    """
    if not (folder.parent / FACTS).exists():
        return []
    facts = Facts(**json.loads((folder.parent / FACTS).read_text()))
    upright = np.load(folder.parent / PICTURE)
    results = [path for path in out.glob("photo_restored.*") if path.suffix != ".json"]
    if not results:
        refused = facts.channels.endswith("alpha") and "keeps the photo's transparency" in said
        return [] if refused else [f"no result of a sound {facts.suffix}: {said!r}"]
    path = results[0]
    samples = _second_reader(path)
    found = []
    if samples.shape[:2] != upright.shape[:2]:
        found.append(f"{facts} became {samples.shape}")
    elif not _looks_like(samples, upright):
        found.append(f"{facts} does not look as it did")
    deep = facts.bits > 8 and path.suffix in KEEPS_DEPTH
    if samples.dtype != (np.uint16 if deep else np.uint8):
        found.append(f"{facts} became {samples.dtype}")
    if facts.bits > 8 and not deep and "16 bits a sample" not in said:
        found.append(f"{facts} lost its depth without a word")
    if facts.described and path.suffix in KEEPS_METADATA:
        found += [f"{facts}: {what}" for what in _metadata_lost(path)]
    return found


def _second_reader(path: Path) -> Samples:
    """Read a result by another program: `(H, W, C)`."""
    decoders: dict[str, Any] = {".png": imagecodecs.png_decode, ".webp": imagecodecs.webp_decode}
    decoders |= {".avif": imagecodecs.avif_decode, ".jpg": imagecodecs.jpeg_decode}
    decoded = tifffile.imread(path) if path.suffix == ".tif" else decoders[path.suffix](path.read_bytes())
    return decoded if decoded.ndim == 3 else decoded[..., None]


def _looks_like(samples: Samples, upright: Samples) -> bool:
    """Tell whether of all ways to turn the picture, this is the one that is most like it."""
    first = cv2.GaussianBlur(samples[..., 0].astype(np.float32), (0, 0), 2)
    likeness = {}
    for turn in range(1, 9):
        other = turned(upright, turn)[..., 0].astype(np.float32)
        if other.shape == first.shape:
            likeness[turn] = abs(np.corrcoef(first.ravel(), other.ravel())[0, 1])
    return bool(likeness[1] == max(likeness.values()) and likeness[1] > CLOSEST)


def _metadata_lost(path: Path) -> list[str]:
    """Return what of the metadata is not in a result."""
    if path.suffix == ".tif":
        with tifffile.TiffFile(path) as file:
            tags = {tag.code: tag.value for tag in file.pages[0].tags.values()}  # type: ignore[union-attr]
        artist, turn, xmp, profile = tags.get(315), tags.get(274, 1), tags.get(700, b""), tags.get(34675)
    else:
        with Image.open(path) as image:
            known = image.getexif()
            artist = str(known.get(315)).encode("latin-1", "replace").decode("utf-8", "replace")
            turn, profile = known.get(274, 1), image.info.get("icc_profile")
            xmp = image.info.get("xmp", image.info.get("XML:com.adobe.xmp", b""))
    xmp = bytes(xmp.encode() if isinstance(xmp, str) else xmp)
    checks = {
        f"its artist became {artist!r}": artist != ARTIST,
        f"its orientation became {turn}": turn != 1,
        f"its XMP became {xmp!r}": xmp != XMP.format(1).encode(),
        "its profile was lost": not profile,
    }
    return [what for what, wrong in checks.items() if wrong]
