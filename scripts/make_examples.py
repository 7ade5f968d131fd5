"""Make the pictures in `examples/`: clean crops of free photographs, and degraded versions of them.

    python scripts/make_examples.py                      the degraded pictures, from the clean ones that ship
    python scripts/make_examples.py --originals DIR      the clean ones too, from the originals in DIR
    python scripts/make_examples.py --before-after FILE  the README's picture alone, of all of them restored

`examples/README.md` says where the originals come from and under which licence.
"""

import argparse
import contextlib
import hashlib
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from rlrestore.cli.main import main as rlrestore
from rlrestore.errors import DataError
from rlrestore.restorer import Restorer

ROW_PX, GAP_PX, WHITE = 300, 8, (255, 255, 255)
"""Of the README's picture."""
FOLDER = Path(__file__).resolve().parent.parent / "examples"


@dataclass(frozen=True)
class Example:
    """One picture.

    Attributes:
        name: Stem of its two files.
        original: File name of the photograph it is cut from.
        sha256: Of that file.
        box: What is cut out: left, top, right, bottom in pixels of the original.
        size: Width and height in pixels after scaling the cut down.
        blur_sigma_px: Blur of the degraded picture.
        noise_sigma_255: Its noise, in units of 1/255.
        jpeg_quality: Its JPEG quality.
    """

    name: str
    original: str
    sha256: str
    box: tuple[int, int, int, int]
    size: tuple[int, int]
    blur_sigma_px: float
    noise_sigma_255: float
    jpeg_quality: int


EXAMPLES = (
    Example(
        "street",
        "beacon-street-sunset.jpg",
        "d77a97bfbb28fa6b2b4c93ad2857894afd38c13f450655942be077118bb9e3f1",
        box=(1900, 860, 3820, 2140),
        size=(480, 320),
        blur_sigma_px=1.8,
        noise_sigma_255=22,
        jpeg_quality=38,
    ),
    Example(
        "coffee",
        "coffee.png",
        "cc02f8ca188b167c775a7101b5d767d1e71792cf762c33d6fa15a4599b5a8de7",
        box=(0, 0, 600, 400),
        size=(420, 280),
        blur_sigma_px=3.2,
        noise_sigma_255=12,
        jpeg_quality=45,
    ),
    Example(
        "chelsea",
        "chelsea.png",
        "596aa1e7cb875eb79f437e310381d26b338a81c2da23439704a73c4651e8c4bb",
        box=(0, 0, 451, 300),
        size=(451, 300),
        blur_sigma_px=0.6,
        noise_sigma_255=42,
        jpeg_quality=55,
    ),
)


def clean_path(example: Example) -> Path:
    """Where the clean picture lies."""
    return FOLDER / "clean" / f"{example.name}.png"


def make_clean(example: Example, originals: Path) -> None:
    """Cut the clean picture out of its original and scale it down.

    Raises:
        DataError: The original is missing, or is another file of that name.
    """
    path = originals / example.original
    if not path.is_file():
        raise DataError(f"expected the original {path}; examples/README.md says where to get it")
    sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
    if sha256 != example.sha256:
        raise DataError(
            f"expected {path} with sha256 {example.sha256}, got {sha256}: another version of the photograph"
        )
    with Image.open(path) as original:
        cut = original.convert("RGB").crop(example.box).resize(example.size, Image.Resampling.LANCZOS)
    cut.save(clean_path(example), optimize=True)


def degrade_command(example: Example) -> list[str]:
    """The arguments of `rlrestore` that make the degraded picture."""
    return [
        "degrade",
        str(clean_path(example).relative_to(FOLDER.parent)),
        *("--blur", f"{example.blur_sigma_px:g}"),
        *("--noise", f"{example.noise_sigma_255:g}"),
        *("--jpeg", str(example.jpeg_quality)),
        *("--seed", "0"),
        *("-o", f"examples/{example.name}.jpg"),
    ]


def draw_before_after(path: Path) -> None:
    """Write the degraded pictures side by side, each restored right of a line through its middle."""
    restorer = Restorer.from_pretrained()
    halves = []
    for example in EXAMPLES:
        with Image.open(FOLDER / f"{example.name}.jpg") as image:
            before = image.convert("RGB")
        both, middle = restorer.restore(before).image, before.width // 2
        both.paste(before.crop((0, 0, middle, before.height)), (0, 0))
        both.paste(WHITE, (middle - 1, 0, middle + 1, before.height))
        width = round(before.width * ROW_PX / before.height)
        halves.append(both.resize((width, ROW_PX), Image.Resampling.LANCZOS))
    row = Image.new("RGB", (sum(one.width + GAP_PX for one in halves) - GAP_PX, ROW_PX), WHITE)
    left = 0
    for one in halves:
        row.paste(one, (left, 0))
        left += one.width + GAP_PX
    row.save(path, quality=88)


def main() -> int:
    """Make every picture."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--originals", type=Path, metavar="DIR", help="make the clean pictures too, from these"
    )
    parser.add_argument("--before-after", type=Path, metavar="FILE", help="draw the README's picture alone")
    args = parser.parse_args()
    if args.before_after is not None:
        draw_before_after(args.before_after)
        return 0
    originals: Path | None = args.originals
    for example in EXAMPLES:
        if originals is not None:
            make_clean(example, originals)
        command = degrade_command(example)
        print("rlrestore", *command)
        with contextlib.chdir(FOLDER.parent):
            code = rlrestore(command)
        if code:
            return code
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
