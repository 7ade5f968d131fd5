"""`rlrestore degrade`: damage an image by the protocol's distortions, to have something to restore."""

import argparse
import io
import math
from pathlib import Path
from typing import TYPE_CHECKING

from rlrestore.cli import Subparsers
from rlrestore.errors import ImageError, UsageError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

LARGEST_BLUR_PX = 5.0
"""The protocol's kernel of 21×21 pixels holds no wider Gaussian."""
LARGEST_NOISE_255 = 255.0
LARGEST_JPEG_SIDE_PX = 65500
"""What libjpeg can hold."""
JPEG_SUFFIXES = (".jpg", ".jpeg")
DESCRIPTION = """\
Blur an image, add noise, and compress it, in this order, as in the paper's protocol. The result is 8-bit
RGB. With --jpeg and an output that ends in .jpg the compressed file itself is written, else its decoded
pixels without loss.
"""


def add_parser(subparsers: Subparsers) -> None:
    """Add the subcommand to the command line."""
    parser = subparsers.add_parser("degrade", help="blur, add noise and compress", description=DESCRIPTION)
    parser.add_argument("image", metavar="IMG", help="the image")
    parser.add_argument("--blur", type=float, metavar="σ", help="Gaussian blur, σ in pixels, 0 to 5")
    parser.add_argument(
        "--noise", type=float, metavar="σ", help="Gaussian noise, σ in units of 1/255, 0 to 255"
    )
    parser.add_argument("--jpeg", type=int, metavar="Q", help="JPEG 4:2:0, quality 1 to 100")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="seed of the noise (default: 0)")
    parser.add_argument(
        "-o", "--out", required=True, metavar="OUT", help="the file to write, never the input"
    )


def run(args: argparse.Namespace) -> int:
    """Degrade the image and write it.

    Raises:
        UsageError: An amount out of its range, none at all, or an output that would not keep the result.
        ImageError: The image cannot be read or the result not written.
    """
    _check(args)
    import numpy as np

    from rlrestore.cli.outputs import prepare_output, refuse_overwriting, write_file
    from rlrestore.cli.reporting import say_notes
    from rlrestore.imaging.degradation.libjpeg import blur_and_noise, degrade_pixels
    from rlrestore.imaging.io.files import Photo, read_photo, shown, write_photo
    from rlrestore.imaging.io.holding import BARE, kept_of
    from rlrestore.imaging.io.photo import to_floats, to_integers

    output, source = Path(args.out), Path(args.image)
    photo = read_photo(source)
    pixels = to_integers(photo.pixels, 8).astype(np.uint8, copy=False)
    notes = (*photo.notes, *kept_of(photo, BARE)[1])
    del photo
    if args.jpeg is not None and max(pixels.shape[:2]) > LARGEST_JPEG_SIDE_PX:
        raise ImageError(
            f"expected an image of at most {LARGEST_JPEG_SIDE_PX} pixels a side for --jpeg, "
            f"but {shown(source)} is {pixels.shape[1]}×{pixels.shape[0]}; crop it first"
        )
    refuse_overwriting(output, source)
    prepare_output(output)
    say_notes(source, notes)
    rng = np.random.default_rng(args.seed)
    blur_px, noise_255 = args.blur or 0.0, args.noise or 0.0
    if output.suffix.lower() in JPEG_SUFFIXES:
        write_file(output, _compressed(blur_and_noise(pixels, blur_px, noise_255, rng), args.jpeg))
    else:
        write_photo(output, Photo(to_floats(degrade_pixels(pixels, blur_px, noise_255, args.jpeg, rng))))
    return 0


def _check(args: argparse.Namespace) -> None:
    for option, value, largest in (
        ("--blur", args.blur, LARGEST_BLUR_PX),
        ("--noise", args.noise, LARGEST_NOISE_255),
    ):
        if value is not None and not (math.isfinite(value) and 0 <= value <= largest):
            raise UsageError(f"expected {option} from 0 to {largest:g}, got {value:g}")
    if args.jpeg is not None and not 1 <= args.jpeg <= 100:
        raise UsageError(f"expected --jpeg from 1 (worst) to 100 (best), got {args.jpeg}")
    if args.seed < 0:
        raise UsageError(f"expected --seed from 0, got {args.seed}")
    if args.blur is None and args.noise is None and args.jpeg is None:
        raise UsageError("nothing to do: give at least one of --blur, --noise and --jpeg")
    if args.jpeg is None and Path(args.out).suffix.lower() in JPEG_SUFFIXES:
        raise UsageError(
            f"{args.out!r} would be compressed, which was not asked for: name a .png, or give --jpeg Q"
        )


def _compressed(pixels: "NDArray[np.uint8]", quality: int) -> bytes:
    """Return the JPEG file that `jpeg_round_trip` decodes."""
    from PIL import Image

    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "JPEG", quality=quality, subsampling="4:2:0")
    return stream.getvalue()
