"""`rlrestore restore - -o -`: a picture from stdin, a picture to stdout, and all else to stderr."""

import argparse
import io
import os
import sys
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from rlrestore.cli.reporting import say, say_notes
from rlrestore.cli.restore_report import summary
from rlrestore.errors import ImageError, UsageError

if TYPE_CHECKING:
    from rlrestore.imaging.io.photo import Photo
    from rlrestore.restorer import Restorer

PIPE = "-"
STDIN = "what came on stdin"
REFUSED = ("json", "trace", "watch", "trying", "dry_run", "skip_existing", "shard")


def is_piped(args: argparse.Namespace) -> bool:
    """Return whether the picture comes from stdin or goes to stdout."""
    return PIPE in args.inputs or args.out == PIPE


def check_piped(args: argparse.Namespace) -> None:
    """Make sure that what was asked for goes with a pipe.

    Raises:
        UsageError: It does not.
    """
    from rlrestore.imaging.io.files import is_video

    if len(args.inputs) != 1:
        raise UsageError(
            f"{PIPE} goes with one image, got {len(args.inputs)} inputs: restore them one by one"
        )
    if args.out is None:
        raise UsageError(
            f"expected where to write the image from stdin: add -o {PIPE}, or -o and a file's name"
        )
    if is_video(args.inputs[0]):
        raise UsageError(f"a video does not go with {PIPE}: name the result with -o FILE")
    for name in REFUSED:
        if getattr(args, name):
            option = "--try" if name == "trying" else f"--{name.replace('_', '-')}"
            raise UsageError(f"{option} does not go with {PIPE}, which leaves no name and no stdout for it")
    if args.inputs[0] == PIPE and sys.stdin is None:
        raise UsageError("expected an image on stdin, but stdin is closed: add < FILE, or name the file")
    stream = sys.stdout if args.out == PIPE else None
    if stream is not None and getattr(stream, "name", "") == os.devnull:  # what main puts for a closed one
        raise UsageError(f"-o {PIPE} writes a picture to stdout, which is closed: add > FILE, or -o FILE")
    if stream is not None and stream.isatty():
        raise UsageError(f"-o {PIPE} writes a picture to stdout, which is a terminal: add > FILE, or -o FILE")


def restore_piped(restorer: "Restorer", args: argparse.Namespace, options: dict[str, object]) -> None:
    """Restore the one image.

    Args:
        restorer: The model.
        args: The command line.
        options: Of `Restorer.restore`.

    Raises:
        UsageError: A file that was named cannot be opened or written.
        RlrestoreError: The image cannot be read or restored.
    """
    from rlrestore.cli.outputs import check_named, prepare_named
    from rlrestore.imaging.io.encoding import KEEP, encode_photo
    from rlrestore.imaging.io.files import shown, write_photo
    from rlrestore.imaging.io.holding import check_holds, fitted
    from rlrestore.imaging.io.keeping import kept_suffix
    from rlrestore.inference.upscaling import check_enlarged

    (source,) = args.inputs
    photo, image_format = _read(source)
    if args.out != PIPE:
        prepare_named(Path(args.out), Path(source))
    if args.reference is not None:
        check_named(args.reference)
    suffix = f".{args.format or 'png'}" if args.format != KEEP else kept_suffix(image_format, "")
    if args.out != PIPE:
        suffix = Path(args.out).suffix.lower()
    quality = KEEP if args.format == KEEP and args.quality is None else args.quality
    if args.out == PIPE:
        check_holds(photo, suffix, shown(PIPE), args.upscale or 1)
        photo = replace(photo, notes=(*photo.notes, *fitted(photo, suffix)[1]))
    if args.upscale:
        check_enlarged(photo.width, photo.height, args.upscale)
    done = restorer.restore(photo, args.reference, args.mode, args.max_steps, in_place=True, **options)  # type: ignore[arg-type]  # of its own
    if args.upscale:
        done = done.enlarged(args.upscale, args.model, args.device)
    if args.out == PIPE:
        content = encode_photo(done.photo, suffix, shown(PIPE), quality)
        sys.stdout.buffer.write(content)
        sys.stdout.buffer.flush()
    else:
        write_photo(args.out, done.photo, quality)
    say_notes(Path(source), photo.notes)
    say(f"{shown(source)} -> {shown(args.out)}: {summary(done)}")


def _read(source: str) -> tuple["Photo", str]:
    """Return the image, and what format it came in."""
    from rlrestore.cli.outputs import check_named
    from rlrestore.imaging.io.decoding import decode_photo, read_header
    from rlrestore.imaging.io.files import claimed_format, read_photo

    if source != PIPE:
        check_named(source)
        return read_photo(source), claimed_format(source)
    content = sys.stdin.buffer.read()
    if not content:
        raise ImageError("expected an image on stdin, got nothing")
    photo = decode_photo(io.BytesIO(content), STDIN)
    image_format = ""
    with suppress(ImageError):
        image_format = read_header(io.BytesIO(content), STDIN).format
    return photo, image_format
