"""Measure both modes of `rlrestore restore` on damage that varies over the photograph, and on uniform damage.

    python scripts/compare_modes.py --data kodak24/
    python scripts/compare_modes.py --data PHOTOS --part validation

Each photograph is degraded by each kind of damage of `rlrestore/varying.py` and restored by one chain for all
of it and by one for every region. With `--part validation` only the files take part that no training on this
folder has seen: to choose the rules of the local mode by.
"""

import argparse
import json
import sys
from pathlib import Path

from experiments.modes import compare_modes, modes_table
from experiments.varying import KINDS
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
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="which damage (default: 0)")
    parser.add_argument("--model", default="default", metavar="M", help="name or folder")
    parser.add_argument("--device", default="cpu", metavar="D")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the numbers to this file too")
    args = parser.parse_args()

    photos = [read_rgb8(path) for path in choose_part(list_photos(args.data), args.part)]
    restorer = Restorer.from_pretrained(args.model, args.device)
    watched = sys.stderr.isatty()
    scores = [compare_modes(restorer, photos, kind, args.seed, watched) for kind in args.kinds]
    print(modes_table(scores))
    if args.json is not None:
        content = {part.kind: part.to_json() for part in scores}
        args.json.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
