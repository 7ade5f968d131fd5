"""`rlrestore inspect`: what is wrong with photographs, and how sure that is."""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rlrestore.cli import Subparsers
from rlrestore.cli.reporting import print_whole, say, say_notes
from rlrestore.cli.restore_report import Tally, fail

if TYPE_CHECKING:
    from rlrestore.cli.planning import Refused
    from rlrestore.explain.inspector import Inspector

DESCRIPTION = """\
Tell how much photographs are blurred, how noisy they are and at what quality they were saved as JPEG, each
with an interval that holds the true value nine times in ten, and whether they are unlike anything that the
model was trained on. Nothing is restored. It needs neither torch nor onnxruntime. A folder is searched with
its subfolders; of results of earlier runs, restored photographs are inspected and drawings left out. A file
that cannot be read is told in a line, and the others go on.
"""


def add_parser(subparsers: Subparsers) -> None:
    """Add the subcommand to the command line."""
    parser = subparsers.add_parser(
        "inspect", help="tell what is wrong with photographs, and how sure that is", description=DESCRIPTION
    )
    parser.add_argument(
        "inputs", nargs="+", metavar="IMG|DIR|GLOB", help="photographs, folders or quoted patterns"
    )
    parser.add_argument(
        "--json", action="store_true", help="print a line of JSON for each in the place of sentences"
    )
    parser.add_argument(
        "-o",
        "--out",
        type=Path,
        metavar="FOLDER",
        help="write IMG_inspected.png there: maps over the photograph of what differs over it; a folder is "
        "mirrored",
    )
    parser.add_argument(
        "--model", default="default", metavar="M", help="name or folder (default: the shipped one)"
    )


def run(args: argparse.Namespace) -> int:
    """Inspect every photograph that can be read; return 1 if some could not.

    Raises:
        UsageError: There is no such photograph or model, the model has no inspector, or maps cannot be
            written there.
    """
    from rlrestore.cli.outputs import prepare_folder
    from rlrestore.explain.inspector import Inspector

    inspector, tally = Inspector.from_pretrained(args.model), Tally()
    maps, refused = _plan(args)
    if args.out is not None:
        prepare_folder(args.out, "maps", "-o")
    for each in refused:
        fail(each.source, each.problem, args, tally)
    for source, output in maps.items():
        try:
            _inspect(inspector, source, output, args)
        except BrokenPipeError:
            raise
        except Exception as error:  # noqa: BLE001  # what ails one photograph stops no other
            fail(source, error, args, tally)
    total = len(maps) + len(refused)
    if total > 1:
        failed = f", {tally.failed} failed" if tally.failed else ""
        say(f"{total - tally.failed} of {total} images inspected{failed}")
    return 1 if tally.failed else 0


def _plan(args: argparse.Namespace) -> "tuple[dict[Path, Path | None], Sequence[Refused]]":
    """Return the photographs, each with where its maps go if they are drawn, and what is not there."""
    from rlrestore.cli.planning import DRAWN_ENDINGS, INSPECTED_SUFFIX, find_images, make_plan

    if args.out is None:
        found, missing = find_images(args.inputs, DRAWN_ENDINGS)
        return {image.path: None for image in found}, missing
    plan = make_plan(args.inputs, f"{args.out}/", ending=INSPECTED_SUFFIX, left_out=DRAWN_ENDINGS)
    return {job.source: job.output for job in plan.jobs}, plan.refused


def _inspect(inspector: "Inspector", source: Path, output: Path | None, args: argparse.Namespace) -> None:
    """Inspect one photograph, draw its maps if that is asked for, and tell what was found.

    Raises:
        RlrestoreError: It cannot be read, or the maps not be written.
    """
    from rlrestore.cli.outputs import prepare_output, write_picture
    from rlrestore.explain.maps import draw_inspection
    from rlrestore.imaging.io.files import read_photo, shown

    if output is not None:
        prepare_output(output)
    photo = read_photo(source)
    inspection = inspector.inspect(photo)
    if output is not None:
        write_picture(output, draw_inspection(source.name, photo, inspection))
    say_notes(source, photo.notes)
    if args.json:
        files = {"input": str(source), **({} if output is None else {"maps": str(output)})}
        line = json.dumps({**files, **inspection.to_json()})
    else:
        maps = "" if output is None else f"\nmaps: {shown(output)}"
        line = f"{shown(source)}: {inspection.sentences()}{maps}"
    print_whole(line, sys.stdout)
