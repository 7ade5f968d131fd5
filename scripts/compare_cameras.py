"""Real cameras' noise: the agent beside tools by hand, OpenCV's non-local means and the greedy oracle.

    python scripts/compare_cameras.py --data real-noise/ --json cameras.json
    python scripts/compare_cameras.py --data real-noise/ --nlm-from cameras.json --model new/

`--data` holds pairs of files, `CAMERA_..._real` (one shot) and `CAMERA_..._mean` (the mean of many). Prints
the tables of docs/camera.md. Non-local means know no model: a second run may take them from the first.
"""

import argparse
import json
import sys
from pathlib import Path

from experiments.rivals import (
    RIVALS,
    agent_table,
    chains_table,
    measure_all,
    real_pairs,
    rivals_table,
    to_json,
)
from rlrestore.cli.arguments import positive_int
from rlrestore.cli.reporting import run_script
from rlrestore.imaging.io.atomic import write_atomically
from rlrestore.restorer import Restorer


def run(args: argparse.Namespace) -> None:
    """Measure, print the tables, and write the numbers if asked to.

    Raises:
        RlrestoreError: There are no pairs, or one cannot be read.
    """
    restorer, progress = Restorer.from_pretrained(args.model, args.device), sys.stderr.isatty()
    pairs = real_pairs(args.data, args.every)
    scores = measure_all(restorer, pairs, args.without, args.nlm_from, progress)
    for table in (rivals_table, agent_table, chains_table):
        print(table(scores), end="\n\n")
    if args.json is not None:
        write_atomically(args.json, (json.dumps(to_json(scores, restorer.name), indent=1) + "\n").encode())


def main() -> int:
    """Run the script."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True, metavar="DIR", help="folder of pairs")
    parser.add_argument("--every", type=positive_int, default=1, metavar="N", help="every Nth pair alone")
    parser.add_argument("--without", nargs="+", choices=RIVALS, default=(), help="leave out, to be quick")
    parser.add_argument("--nlm-from", type=Path, metavar="FILE", help="an earlier run's --json")
    parser.add_argument("--model", default="default", metavar="M", help="name or folder")
    parser.add_argument("--device", default="cpu", metavar="D")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the numbers to this file too")
    return run_script(parser, run)


if __name__ == "__main__":
    sys.exit(main())
