"""Measure whether tools are what their names say: all tools of a model on every tool's own range.

    python scripts/tool_ranges.py --data PHOTOS --part validation
    python scripts/tool_ranges.py --data div2k_valid_256/

Each range comes alone, and with a little of the other distortions. With `--part validation` only the files
are used that every training on this folder holds out.
"""

import argparse
import json
import sys
from pathlib import Path

from experiments.ranges import measure_ranges, ranges_table
from rlrestore.cli.arguments import positive_int, seed_number
from rlrestore.cli.reporting import run_script
from rlrestore.devices import resolve_device
from rlrestore.evaluation.testsets import read_photos
from rlrestore.imaging.io.atomic import write_atomically
from rlrestore.toolbox.storage import load_toolbox


def build_parser() -> argparse.ArgumentParser:
    """Return the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True, metavar="DIR", help="folder of clean photographs")
    parser.add_argument("--part", choices=("all", "validation"), default="all", help="(default: all)")
    parser.add_argument(
        "--patches", type=positive_int, default=200, metavar="N", help="of each range (default: 200)"
    )
    parser.add_argument("--seed", type=seed_number, default=0, metavar="N", help="which patches (default: 0)")
    parser.add_argument("--model", default="default", metavar="M", help="name or folder (default: default)")
    parser.add_argument("--device", default="cpu", metavar="D")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the numbers to this file too")
    return parser


def run(args: argparse.Namespace) -> None:
    """Measure, print both tables, and write the numbers if asked to.

    Raises:
        RlrestoreError: No such device, model or photographs.
    """
    toolbox = load_toolbox(args.model, resolve_device(args.device))
    photos = read_photos(args.data, args.part)
    found = measure_ranges(toolbox, photos, args.patches, args.seed, progress=sys.stderr.isatty())
    print(ranges_table(found))
    if args.json is not None:
        content = [each.to_json() for each in found]
        write_atomically(args.json, (json.dumps(content, indent=2) + "\n").encode())


if __name__ == "__main__":
    sys.exit(run_script(build_parser(), run))
