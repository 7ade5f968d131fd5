"""Feed `rlrestore restore` damaged files, absurd names and impossible folders, thousands of them.

    python scripts/fuzz_restore.py --cases 5000

A case depends on nothing but its seed. It passes if the command ends with code 0, 1 or 2 within ten seconds,
says what is wrong without a traceback, takes no more memory than the size that the file claims allows,
leaves every input as it was, and leaves nothing half-written: each result can be read, and no temporary file
is left. Of a sound file a second reader finds depth, orientation and metadata in the result. The model is
untrained and small, for what is tried is everything around it.
"""

import argparse
import contextlib
import faulthandler
import importlib
import io
import os
import random
import struct
import sys
import tempfile
import time
import zipfile
import zlib
from collections import Counter
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from PIL import Image

from experiments import sound_files
from rlrestore.agent.policy import Policy
from rlrestore.cli.arguments import positive_int, seed_number
from rlrestore.cli.main import main as rlrestore
from rlrestore.imaging.io.encoding import ENCODERS
from rlrestore.imaging.io.files import claimed_pixels, read_photo
from rlrestore.runtime.torch_runtime import TorchRuntime
from rlrestore.toolbox.specs import TOOLS
from rlrestore.toolbox.toolbox import Toolbox

LIMIT_S, BYTES_A_PIXEL, BYTES_BESIDE = 10.0, 24, 512 * 2**20
"""The memory that a case may take is so much for every pixel that its file claims, and so much beside."""
BLOCK, SIZE = 64, (61, 47)
"""Files are cut off at multiples of so many bytes."""
STEMS = (
    *("line\nbreak", "\x1b[31mred", "😀🏳️‍🌈", " ", "-o", "*[a]?", "a" * 240),
    *("\udcff\udcfe", "'\"$(x)", "a.b.c", "..x", "\u202egnp"),
)
"""Of names that are hard to print or to write."""


def save_model(folder: Path) -> None:
    """Write a small untrained model whose agent always takes a tool."""
    torch.manual_seed(0)
    toolbox, policy = Toolbox(TOOLS[:2], widths={3: [8]}), Policy(2, max_steps=1)
    torch.nn.init.constant_(policy.level.bias, 3.0)
    TorchRuntime(toolbox, policy, "fuzz").save(folder)


@cache
def whole_files() -> dict[str, bytes]:
    """Return a sound file of every kind, by its suffix; a PNG in place of one that cannot be written here."""
    rng = np.random.default_rng(0)
    smooth = np.add.outer(np.arange(SIZE[1]), np.arange(SIZE[0]))[..., None] + 40 * np.arange(3)
    colour = Image.fromarray((smooth + rng.integers(0, 20, smooth.shape)).astype(np.uint8))
    clear = colour.convert("RGBA")
    deep = Image.fromarray(rng.integers(0, 65536, SIZE[::-1], np.uint16))
    exif = Image.Exif()
    exif[0x0112], exif[0x010F] = 6, "A maker"
    kinds: dict[str, tuple[Image.Image, str, dict[str, object]]] = {
        "jpg": (colour, "JPEG", {"exif": exif, "quality": 80}),
        "progressive.jpg": (colour, "JPEG", {"progressive": True, "icc_profile": b"profile" * 40}),
        "cmyk.jpg": (colour.convert("CMYK"), "JPEG", {}),
        "png": (colour, "PNG", {"exif": exif, "icc_profile": b"profile" * 40}),
        "rgba.png": (clear, "PNG", {}),
        "palette.png": (colour.quantize(16), "PNG", {"transparency": 3}),
        "16.png": (deep, "PNG", {}),
        "tif": (colour, "TIFF", {"compression": "tiff_lzw"}),
        "16.tif": (deep, "TIFF", {}),
        "gif": (colour.quantize(16), "GIF", {}),
        "bmp": (colour, "BMP", {}),
        "ppm": (colour, "PPM", {}),
        "tga": (colour, "TGA", {}),
        "webp": (clear, "WEBP", {"lossless": True}),
        "jp2": (colour, "JPEG2000", {}),
        "avif": (colour, "AVIF", {}),
        "heic": (colour, "HEIF", {}),
    }
    with contextlib.suppress(ImportError):
        importlib.import_module("pillow_heif").register_heif_opener()
    Image.init()
    files = {}
    for suffix, (image, name, options) in kinds.items():
        stream = io.BytesIO()
        try:
            image.save(stream, name, **options)
        except (KeyError, OSError):  # without the codec
            colour.save(stream, "PNG")
        files[suffix] = stream.getvalue()
    return files


def any_file(rng: random.Random) -> tuple[str, bytearray]:
    """Return a sound file of a random kind: its suffix and its content."""
    suffix = rng.choice(sorted(whole_files()))
    return suffix, bytearray(whole_files()[suffix])


def write(folder: Path, suffix: str, content: bytes | bytearray) -> list[str]:
    """Write an input; return how the command line names it."""
    path = folder / f"photo.{suffix}"
    path.write_bytes(content)
    return [str(path)]


def flipped_bits(folder: Path, rng: random.Random) -> list[str]:
    """A few bits changed anywhere, or in the header."""
    suffix, content = any_file(rng)
    end = len(content) if rng.random() < 0.5 else min(len(content), 200)
    for _ in range(rng.choice((1, 2, 8, 64))):
        content[rng.randrange(end)] ^= 1 << rng.randrange(8)
    return write(folder, suffix, content)


def cut_off(folder: Path, rng: random.Random) -> list[str]:
    """The end is missing."""
    suffix, content = any_file(rng)
    return write(folder, suffix, content[: BLOCK * rng.randrange(len(content) // BLOCK + 1)])


def moved_blocks(folder: Path, rng: random.Random) -> list[str]:
    """A piece is missing, comes twice, or is of zeros or noise."""
    suffix, content = any_file(rng)
    begin = rng.randrange(len(content))
    end = min(len(content), begin + rng.randrange(1, 400))
    piece = content[begin:end]
    content[begin:end] = rng.choice((b"", piece * 2, bytes(len(piece)), rng.randbytes(len(piece))))
    return write(folder, suffix, content)


def wrong_lengths(folder: Path, rng: random.Random) -> list[str]:
    """A field of four or two bytes in the header, of a length perhaps, is absurd."""
    suffix, content = any_file(rng)
    offset = rng.randrange(min(len(content), 120) - 4)
    value = rng.choice((0, 1, 0x7FFFFFFF, 0xFFFFFFFF, 0x80000000, 0xFFFF, rng.getrandbits(32)))
    kind = rng.choice((">I", "<I", ">H", "<H"))
    struct.pack_into(kind, content, offset, value & (0xFFFFFFFF if kind[1] == "I" else 0xFFFF))
    return write(folder, suffix, content)


def png(width: int, height: int, data: bytes, *extra: tuple[bytes, bytes]) -> bytes:
    """Return a greyscale PNG that claims a size, with compressed data and chunks that need not fit."""
    head = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    chunks = [(b"IHDR", head), *extra, (b"IDAT", data), (b"IEND", b"")]
    body = b""
    for kind, content in chunks:
        body += (
            struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))
        )
    return b"\x89PNG\r\n\x1a\n" + body


def absurd_sizes(folder: Path, rng: random.Random) -> list[str]:
    """A header that claims a huge, a thin or an empty picture."""
    width, height = (rng.choice((0, 1, 7, 8, 4000, 65535, 2**31 - 1, 2**32 - 1)) for _ in range(2))
    if rng.random() < 0.5:
        return write(folder, "png", png(width, height, zlib.compress(bytes(5000))))
    return write(folder, "ppm", b"P6\n%d %d\n255\n" % (width, height) + bytes(5000))


def bombs(folder: Path, rng: random.Random) -> list[str]:
    """Little that unpacks into much: pixels, metadata, or an archive under an image's name."""
    zeros = zlib.compress(bytes(64 * 2**20), 9)
    if rng.random() < 0.3:
        stream = io.BytesIO()
        with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("photo.png", bytes(16 * 2**20))
        return write(folder, rng.choice(("png", "jpg")), stream.getvalue())
    side = rng.choice((16, 300, 20000))
    if rng.random() < 0.5:
        return write(folder, "png", png(side, side, zeros))
    kind, head = rng.choice(((b"iCCP", b"p\0\0"), (b"zTXt", b"t\0\0"), (b"iTXt", b"t\0\1\0\0\0")))
    good = zlib.compress(bytes(17 * 16))
    return write(folder, "png", png(16, 16, good, (kind, head + zeros)))


def odd_names(folder: Path, rng: random.Random) -> list[str]:
    """Sound or damaged files under names that are hard to print or to write."""
    suffix, content = any_file(rng)
    if rng.random() < 0.5:
        content = content[: rng.randrange(len(content))]
    stem = rng.choice(STEMS)
    path = folder / f"{stem}.{suffix.rsplit('.', 1)[-1]}"
    path.write_bytes(content)
    return [str(path) if rng.random() < 0.5 else str(folder)]


def odd_places(folder: Path, rng: random.Random) -> list[str]:
    """Links in a loop, links to nowhere, folders named like files, pipes, folders that cannot be written."""
    place = folder / "photo.png"
    kind = rng.choice(("loop", "nowhere", "folder", "pipe", "folder loop", "closed", "empty"))
    if kind in ("loop", "nowhere"):
        place.symlink_to("photo.png" if kind == "loop" else "nowhere.png")
    elif kind == "folder":
        place.mkdir()
    elif kind == "pipe":
        os.mkfifo(place)
    else:
        place.write_bytes(b"" if kind == "empty" else whole_files()["png"])
    if kind == "folder loop":
        (folder / "again").symlink_to(".", target_is_directory=True)
    if kind == "closed":
        (folder / "out").mkdir(mode=0o500)
    return [rng.choice((str(folder), str(place), str(folder / "*.png")))]


def several(folder: Path, rng: random.Random) -> list[str]:
    """A folder of damaged files, read side by side."""
    for number in range(4):
        place = folder / str(number)
        place.mkdir()
        rng.choice((flipped_bits, cut_off, moved_blocks, wrong_lengths, bombs))(place, rng)
    return [str(folder)]


KINDS: tuple[Callable[[Path, random.Random], list[str]], ...] = (
    *(flipped_bits, flipped_bits, cut_off, cut_off, moved_blocks, wrong_lengths),
    *(absurd_sizes, bombs, odd_names, odd_places, several, *(3 * (sound_files.sound_files,))),
)
OPTIONS = (
    *("", "--trace", "--json --workers 1", "--skip-existing --workers 4", "--format jpg --quality 30"),
    *("--format webp", "--format avif", "--format tif"),
)


class CaseResult(NamedTuple):
    """The result of a case: its kind, the exit code, and the rules that it broke."""

    kind: str
    code: int
    problems: tuple[str, ...]


def run_case(seed: int, model: Path) -> CaseResult:
    """Make a case, run it, and look at what it left."""
    rng = random.Random(seed)  # noqa: S311  # nothing secret
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "in"
        folder.mkdir()
        kind = rng.choice(KINDS)
        inputs = kind(folder, rng)
        before = contents(folder)
        claimed = sum(map(claimed_pixels, before))
        options = ["-o", f"{(out := folder / 'out')}/", *rng.choice(OPTIONS).split()]
        said, errors = io.StringIO(), io.StringIO()
        faulthandler.dump_traceback_later(3 * LIMIT_S, exit=True)
        forget_peak()
        memory, began = resident_bytes("VmRSS"), time.monotonic()
        problems = []
        try:
            with contextlib.redirect_stdout(said), contextlib.redirect_stderr(errors):
                code = rlrestore(["restore", "--model", str(model), *options, "--", *inputs])
        except SystemExit as end:
            code = end.code if isinstance(end.code, int) else 1
        except BaseException as error:  # noqa: BLE001  # it must not happen, whatever it is
            code, problems = -1, [f"raised {error!r}"]
        took = time.monotonic() - began
        faulthandler.cancel_dump_traceback_later()
        grown = resident_bytes("VmHWM") - memory
        after = {path: held for path, held in contents(folder).items() if path in before}
        checks = {
            f"ended with {code}": code not in (-1, 0, 1, 2),
            "said a traceback": "Traceback" in errors.getvalue(),
            "failed without a word": code > 0 and not errors.getvalue(),
            f"took {took:.0f} s": took > LIMIT_S,
            f"took {grown / 1e6:.0f} MB for {claimed / 1e6:.1f} megapixels": grown
            > BYTES_BESIDE + BYTES_A_PIXEL * claimed,
            "changed an input": after != before,
        }
        problems += [what for what, happened in checks.items() if happened]
        problems += [f"left {path.name!r}" for path in left_over(out)]
        problems += sound_files.problems(folder, out, errors.getvalue())
        if out.is_dir():
            out.chmod(0o700)
    return CaseResult(kind.__name__, code, tuple(problems))


def contents(folder: Path) -> dict[Path, bytes]:
    """Return what the files below a folder hold, but for results; a link holds what its target does."""
    inputs = (path for path in folder.rglob("*") if folder / "out" not in (path, *path.parents))
    return {path: path.read_bytes() for path in inputs if path.is_file()}


def left_over(out: Path) -> list[Path]:
    """Return what a result's folder holds that is no whole file: what is temporary or cannot be read."""
    found = []
    for path in out.rglob("*") if out.is_dir() else ():
        if path.name.endswith(".tmp"):
            found.append(path)
        elif path.suffix in ENCODERS:
            try:
                read_photo(path)
            except Exception:  # noqa: BLE001  # whatever it is, the file is not whole
                found.append(path)
    return found


def forget_peak() -> None:
    """Let the peak of the memory begin anew."""
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")


def resident_bytes(key: str) -> int:
    """Return a size from the status of this process, 0 where there is none."""
    status = Path("/proc/self/status")
    return 1024 * int(status.read_text().split(f"{key}:")[1].split()[0]) if status.exists() else 0


def main() -> int:
    """Run all cases; print those that failed and a summary."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--cases", type=positive_int, default=5000, metavar="N", help="(default: 5000)")
    parser.add_argument("--seed", type=seed_number, default=0, metavar="N", help="of the first (default: 0)")
    args = parser.parse_args()
    torch.set_num_threads(1)
    ended: Counter[tuple[str, int]] = Counter()
    failed = 0
    with tempfile.TemporaryDirectory() as folder:
        save_model(Path(folder))
        for seed in range(args.seed, args.seed + args.cases):
            result = run_case(seed, Path(folder))
            ended[result.kind, result.code] += 1
            failed += bool(result.problems)
            if result.problems:
                print(f"seed {seed}: {result.kind}: {'; '.join(result.problems)}", flush=True)
    for (kind, code), count in sorted(ended.items()):
        print(f"{kind}: {count} ended with {code}")
    print(f"{args.cases - failed} of {args.cases} cases passed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
