"""The camera of `rlrestore degrade`: its options, and the picture it takes."""

import argparse
import math
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rlrestore.cli.arguments import JPEG_SUFFIXES, LARGEST_SEED
from rlrestore.errors import UsageError

if TYPE_CHECKING:
    import torch

    from rlrestore.imaging.degradation.camera import Camera

LARGEST_SHOT, LARGEST_READ = 0.1, 0.01
LARGEST_GAIN = 8.0
LARGEST_SHARPENING = 3.0
SCALES = (1.0, 1.5, 2.0, 3.0)
CHROMA = {"420": False, "444": True}
DEMOSAIC = {"malvar": True, "bilinear": False}

RANGES = {
    "shot": (0.0, LARGEST_SHOT),
    "read": (0.0, LARGEST_READ),
    "tone": (0.0, 1.0),
    "sharpen": (0.0, LARGEST_SHARPENING),
}
"""Of the options with one number, by name."""
CHOICES = ("gains", "demosaic", "scale", "chroma")
OPTIONS = (*RANGES, *CHOICES, "target")
"""Those that mean nothing without --camera."""


def add_camera_options(parser: argparse.ArgumentParser) -> None:
    """Add the options to the subcommand."""
    group = parser.add_argument_group("camera")
    group.add_argument("--camera", action="store_true", help="take the image as by a camera")
    group.add_argument(
        "--shot",
        type=float,
        metavar="S",
        help=f"variance of the noise per unit of light, 0 to {LARGEST_SHOT:g}",
    )
    group.add_argument(
        "--read", type=float, metavar="R", help=f"variance of the noise in the dark, 0 to {LARGEST_READ:g}"
    )
    group.add_argument("--demosaic", choices=DEMOSAIC, help="how the mosaic is interpolated")
    group.add_argument(
        "--gains", type=float, nargs=2, metavar=("RED", "BLUE"), help=f"white balance, 1 to {LARGEST_GAIN:g}"
    )
    group.add_argument("--tone", type=float, metavar="T", help="strength of the tone curve, 0 to 1")
    group.add_argument(
        "--sharpen", type=float, metavar="A", help=f"amount of sharpening, 0 to {LARGEST_SHARPENING:g}"
    )
    group.add_argument("--scale", type=float, choices=SCALES, help="scaled down after the camera, by")
    group.add_argument("--chroma", choices=CHROMA, help="chroma of the JPEG: 4:2:0 or 4:4:4")
    group.add_argument("--target", metavar="FILE", help="write the reference here, without loss")


def check_camera_options(args: argparse.Namespace) -> bool:
    """Return whether a camera is asked for.

    Raises:
        UsageError: A camera's option without a camera, or one out of its range.
    """
    given = {name: getattr(args, name) for name in OPTIONS if getattr(args, name) is not None}
    if not args.camera:
        if given:
            raise UsageError(f"--{next(iter(given))} is a camera's: give --camera as well")
        return False
    if args.noise is not None:
        raise UsageError("--noise is white noise: with --camera give --shot and --read instead")
    numbers = [(name, given[name], *RANGES[name]) for name in given if name in RANGES]
    numbers += [("gains", gain, 1.0, LARGEST_GAIN) for gain in given.get("gains", ())]
    for name, value, low, high in numbers:
        if not (math.isfinite(value) and low <= value <= high):
            raise UsageError(f"expected --{name} from {low:g} to {high:g}, got {value:g}")
    if args.seed > LARGEST_SEED:
        raise UsageError(f"expected --seed up to {LARGEST_SEED}, got {args.seed}")
    check_target(args.target, args.out)
    return True


def check_target(target: str | None, out: str) -> None:
    """Refuse a reference that would be compressed, or that is the result.

    Raises:
        UsageError: It would.
    """
    if target is None:
        return
    if Path(target).suffix.lower() in JPEG_SUFFIXES:
        raise UsageError(f"{target!r} would be compressed, and be no reference: name a .png")
    if Path(target).absolute() == Path(out).absolute():
        raise UsageError(f"expected two files, got {target!r} for both --target and -o")


def take_picture(args: argparse.Namespace) -> int:
    """Take the picture and write it, and its reference where that is asked for.

    Raises:
        UsageError: An output is the input, or a path cannot be opened or written.
        ImageError: The image cannot be read or a result not written.
    """
    import torch

    from rlrestore.cli.outputs import check_jpeg_size, check_named, prepare_named, write_file
    from rlrestore.cli.reporting import say_notes
    from rlrestore.imaging.degradation.camera import describe
    from rlrestore.imaging.degradation.camera_files import (
        compress_pixels,
        compression_round_trip,
        expose_pixels,
    )
    from rlrestore.imaging.degradation.jpeg import MCU
    from rlrestore.imaging.io.files import Photo, read_photo, shown, write_photo
    from rlrestore.imaging.io.holding import BARE, kept_of
    from rlrestore.imaging.io.samples import to_floats

    output, source = Path(args.out), Path(args.image)
    target = None if args.target is None else Path(args.target)
    check_named(source)
    photo = read_photo(source)
    pixels, notes = photo.pixels, (*photo.notes, *kept_of(photo, BARE)[1])
    check_jpeg_size(source, pixels, border_px=MCU - 1)
    for path, option in ((output, "-o"), (target, "--target")):
        if path is not None:
            prepare_named(path, source, option)
    say_notes(source, notes)
    generator = torch.Generator().manual_seed(args.seed)
    camera = choose_camera(args, generator)
    noisy, clean = expose_pixels(pixels, camera, generator)
    if output.suffix.lower() in JPEG_SUFFIXES:
        write_file(output, compress_pixels(noisy, camera.compression))
    else:
        write_photo(output, Photo(to_floats(compression_round_trip(noisy, camera.compression))))
    if target is not None:
        write_photo(target, Photo(to_floats(clean)))
    print(f"{shown(source)} -> {shown(output)}: {describe(camera)}")
    return 0


def choose_camera(args: argparse.Namespace, generator: "torch.Generator") -> "Camera":
    """Draw a camera, and exchange what the options say; the other draws stay what they were."""
    import torch

    from rlrestore.imaging.degradation.camera import CameraRecipe
    from rlrestore.imaging.degradation.compression import CompressionRecipe

    recipe = CameraRecipe(clean_share=0.0, compression=CompressionRecipe(share=1.0))
    camera = recipe.draw(generator)
    compression = camera.compression
    if args.jpeg is not None:
        asked = {"quality": torch.tensor([float(args.jpeg)]), "earlier_quality": torch.zeros(1)}
        compression = replace(compression, **asked)
    if args.chroma is not None:
        compression = replace(compression, full_chroma=torch.tensor([CHROMA[args.chroma]]))
    chosen = {name: torch.tensor([getattr(args, name)]) for name in RANGES if getattr(args, name) is not None}
    if args.blur is not None:
        chosen |= {"blur_sigma_px": torch.tensor([args.blur]), "disc_radius_px": torch.zeros(1)}
    if args.gains is not None:
        red, blue = args.gains
        chosen |= {"red_gain": torch.tensor([red]), "blue_gain": torch.tensor([blue])}
    if args.demosaic is not None:
        chosen |= {"malvar": torch.tensor([DEMOSAIC[args.demosaic]])}
    scale = camera.scale if args.scale is None else args.scale
    # Checked by `Camera` itself: the names are its fields.
    settings: dict[str, Any] = chosen | {"compression": compression, "scale": scale}
    return replace(camera, **settings)
