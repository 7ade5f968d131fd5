"""`rlrestore degrade`: degrade an image by the protocol's distortions, a mixture or a camera."""

import argparse
import math
from pathlib import Path

from rlrestore.cli import Subparsers
from rlrestore.cli.arguments import JPEG_SUFFIXES, LARGEST_SEED
from rlrestore.cli.camera_options import (
    CHOICES,
    RANGES,
    add_camera_options,
    check_camera_options,
    check_target,
    take_picture,
)
from rlrestore.errors import UsageError

LARGEST_BLUR_PX = 5.0
"""The protocol's kernel of 21×21 pixels holds no wider Gaussian."""
LARGEST_NOISE_255 = 255.0
DESCRIPTION = """\
Blur an image, add noise, and compress it, in this order, as in the paper's protocol. The result is 8-bit
RGB. With --jpeg and an output that ends in .jpg the compressed file itself is written, else its decoded
pixels without loss. Transparency is ignored.

With --mixture all that is done is drawn by the seed from a mixture, one that ships or a TOML file
(docs/own-degradation.md), and printed.

With --camera the image is taken as by a camera: lens, Bayer mosaic, shot and read noise, demosaicking,
tone, sharpening, scaling, JPEG. What is not given is drawn by the seed, and printed. --target writes what
the camera would have made of the scene without noise and without JPEG, to compare with.
"""


def add_parser(subparsers: Subparsers) -> None:
    """Add the subcommand to the command line."""
    parser = subparsers.add_parser("degrade", help="blur, add noise and compress", description=DESCRIPTION)
    parser.add_argument("image", metavar="IMG", help="the image")
    parser.add_argument("--blur", type=float, metavar="σ", help="Gaussian blur, σ in pixels, 0 to 5")
    parser.add_argument(
        "--noise", type=float, metavar="σ", help="Gaussian noise, σ in units of 1/255, 0 to 255"
    )
    parser.add_argument(
        "--jpeg", type=int, metavar="Q", help="JPEG, quality 1 to 100; 4:2:0, but by --chroma with --camera"
    )
    parser.add_argument("--mixture", metavar="FILE", help="instead: a mixture that ships, or a TOML file")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="seed of all draws (default: 0)")
    parser.add_argument(
        "-o", "--out", required=True, metavar="OUT", help="the file to write, never the input"
    )
    add_camera_options(parser)


def run(args: argparse.Namespace) -> int:
    """Degrade the image and write it.

    Raises:
        UsageError: An amount out of its range, none at all, an output that would not keep the result, or a
            path that cannot be opened or written.
        ImageError: The image cannot be read or the result not written.
    """
    if args.mixture is not None:
        _check_mixture(args)
        return apply_mixture(args)
    _check(args)
    if args.camera:
        return take_picture(args)
    import numpy as np

    from rlrestore.cli.outputs import check_jpeg_size, check_named, prepare_named, write_file
    from rlrestore.cli.reporting import say_notes
    from rlrestore.imaging.degradation.libjpeg import blur_and_noise, degrade_pixels, jpeg_file
    from rlrestore.imaging.io.files import Photo, read_photo, shown, write_photo
    from rlrestore.imaging.io.holding import BARE, kept_of
    from rlrestore.imaging.io.samples import to_floats, to_integers

    output, source = Path(args.out), Path(args.image)
    check_named(source)
    photo = read_photo(source)
    pixels = to_integers(photo.pixels, 8).astype(np.uint8, copy=False)
    notes = (*photo.notes, *kept_of(photo, BARE)[1])
    del photo
    if args.jpeg is not None:
        check_jpeg_size(source, pixels)
    prepare_named(output, source)
    say_notes(source, notes)
    rng = np.random.default_rng(args.seed)
    blur_px, noise_255 = args.blur or 0.0, args.noise or 0.0
    if output.suffix.lower() in JPEG_SUFFIXES:
        write_file(output, jpeg_file(blur_and_noise(pixels, blur_px, noise_255, rng), args.jpeg))
    else:
        write_photo(output, Photo(to_floats(degrade_pixels(pixels, blur_px, noise_255, args.jpeg, rng))))
    print(f"{shown(source)} -> {shown(output)}: {_describe(args)}")
    return 0


def _describe(args: argparse.Namespace) -> str:
    """Return what was done, in the order in which it was done."""
    words = {"blur": "blur σ {:g} px", "noise": "noise σ {:g} of 255", "jpeg": "JPEG {}"}
    given = {name: getattr(args, name) for name in words if getattr(args, name) is not None}
    seed = [f"seed {args.seed}"] if "noise" in given else []
    return ", ".join([words[name].format(amount) for name, amount in given.items()] + seed)


def apply_mixture(args: argparse.Namespace) -> int:
    """Draw what a mixture does to the image, do it, and write the result, and its reference if asked to.

    Raises:
        UsageError: The mixture's file is none, an output is the input, or a path cannot be opened or written.
        ImageError: The image cannot be read or a result not written.
    """
    import numpy as np
    import torch

    from rlrestore.cli.outputs import check_jpeg_size, check_named, prepare_named
    from rlrestore.cli.reporting import say_notes
    from rlrestore.imaging.degradation.jpeg import MCU
    from rlrestore.imaging.io.files import Photo, read_photo, shown, write_photo
    from rlrestore.imaging.io.holding import BARE, kept_of
    from rlrestore.imaging.io.samples import to_floats
    from rlrestore.imaging.mixture_files import read_mixture
    from rlrestore.imaging.recipes import draw_file

    mixture, source = read_mixture(args.mixture), Path(args.image)
    check_named(source)
    photo = read_photo(source)
    check_jpeg_size(source, photo.pixels, border_px=MCU - 1)
    outputs = {"-o": Path(args.out)} | ({} if args.target is None else {"--target": Path(args.target)})
    for option, path in outputs.items():
        prepare_named(path, source, option)
    say_notes(source, (*photo.notes, *kept_of(photo, BARE)[1]))
    generator, rng = torch.Generator().manual_seed(args.seed), np.random.default_rng(args.seed)
    drawn = draw_file(mixture.recipe, generator, rng)
    for path, pixels in zip(outputs.values(), drawn.apply(photo.pixels), strict=False):
        write_photo(path, Photo(to_floats(pixels)))
    print(f"{shown(source)} -> {shown(outputs['-o'])}: {drawn.text}")
    return 0


def _check_mixture(args: argparse.Namespace) -> None:
    given = [name for name in ("blur", "noise", "jpeg", *RANGES, *CHOICES) if getattr(args, name) is not None]
    given += ["camera"] if args.camera else []
    if given:
        raise UsageError(f"--mixture says all: leave out --{given[0]}")
    if not 0 <= args.seed <= LARGEST_SEED:
        raise UsageError(f"expected --seed from 0 to {LARGEST_SEED}, got {args.seed}")
    if Path(args.out).suffix.lower() in JPEG_SUFFIXES:
        raise UsageError(f"{args.out!r} would be compressed once more: name a .png")
    check_target(args.target, args.out)


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
    if check_camera_options(args):
        return
    if args.blur is None and args.noise is None and args.jpeg is None:
        raise UsageError(
            "nothing to do: give at least one of --blur, --noise, --jpeg, or --camera, or --mixture"
        )
    if args.jpeg is None and Path(args.out).suffix.lower() in JPEG_SUFFIXES:
        raise UsageError(
            f"{args.out!r} would be compressed, which was not asked for: name a .png, or give --jpeg Q"
        )
