"""`rlrestore inspect`: what is wrong with a photograph, and how sure that is."""

import argparse
import json
from pathlib import Path

from rlrestore.cli import Subparsers

DESCRIPTION = """\
Tell how much a photograph is blurred, how noisy it is and at what quality it was saved as JPEG, each with an
interval that holds the true value nine times in ten, and whether it is unlike anything that the model was
trained on. Nothing is restored. It needs neither torch nor onnxruntime.
"""


def add_parser(subparsers: Subparsers) -> None:
    """Add the subcommand to the command line."""
    parser = subparsers.add_parser(
        "inspect", help="tell what is wrong with a photograph, and how sure that is", description=DESCRIPTION
    )
    parser.add_argument("image", metavar="IMG", help="the photograph")
    parser.add_argument("--json", action="store_true", help="print JSON in the place of sentences")
    parser.add_argument(
        "-o",
        "--out",
        type=Path,
        metavar="FOLDER",
        help="write IMG_inspected.png there: maps over the photograph of what differs over it",
    )
    parser.add_argument(
        "--model", default="default", metavar="M", help="name or folder (default: the shipped one)"
    )


def run(args: argparse.Namespace) -> int:
    """Inspect the photograph.

    Raises:
        UsageError: There is no such model, or it has no inspector.
        ImageError: The photograph cannot be read, or the maps not be written.
    """
    from rlrestore.cli.outputs import prepare_output, write_picture
    from rlrestore.cli.reporting import say_notes
    from rlrestore.explain.inspector import Inspector
    from rlrestore.imaging.io.files import read_photo, shown

    inspector, source = Inspector.from_pretrained(args.model), Path(args.image)
    output = None if args.out is None else args.out / f"{source.stem}_inspected.png"
    if output is not None:
        prepare_output(output)
    photo = read_photo(source)
    inspection = inspector.inspect(photo)
    if output is not None:
        from rlrestore.explain.maps import draw_inspection

        write_picture(output, draw_inspection(source.name, photo, inspection))
    say_notes(source, photo.notes)
    if args.json:
        print(json.dumps(inspection.to_json()))
        return 0
    print(f"{shown(source)}: {inspection.sentences()}")
    if output is not None:
        print(f"maps: {shown(output)}")
    return 0
