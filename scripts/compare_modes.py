"""Measure both modes of `rlrestore restore` on degradations that vary over the photograph, and on others.

    python scripts/compare_modes.py --data kodak24/
    python scripts/compare_modes.py --data PHOTOS --part validation

Each photograph is degraded by each kind of `experiments/varying.py` and restored in global and in local mode.
With `--part validation` only the files are used that every training on this folder holds out: to choose the
rules of the local mode by.
"""

import argparse
import json
import sys
from pathlib import Path

from experiments.modes import compare_modes, modes_table
from experiments.varying import KINDS
from rlrestore.imaging.io.atomic import write_atomically
from rlrestore.imaging.io.files import list_photos, read_rgb8
from rlrestore.imaging.patches import choose_part
from rlrestore.restorer import Restorer


def main() -> None:
    """Measure, print a table, and write the numbers if asked to."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True, metavar="DIR", help="folder of clean photographs")
    parser.add_argument("--part", choices=("all", "validation"), default="all", help="(default: all)")
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=KINDS, help="(default: all)")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="which degradation (default: 0)")
    parser.add_argument("--model", default="default", metavar="M", help="name or folder")
    parser.add_argument("--device", default="cpu", metavar="D")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the numbers to this file too")
    args = parser.parse_args()

    photos = [read_rgb8(path) for path in choose_part(list_photos(args.data), args.part)]
    restorer = Restorer.from_pretrained(args.model, args.device)
    progress = sys.stderr.isatty()
    scores = [compare_modes(restorer, photos, kind, args.seed, progress) for kind in args.kinds]
    print(modes_table(scores))
    if args.json is not None:
        content = {part.kind: part.to_json() for part in scores}
        write_atomically(args.json, (json.dumps(content, indent=2) + "\n").encode())


if __name__ == "__main__":
    main()
