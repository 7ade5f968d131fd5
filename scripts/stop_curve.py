"""Measure when a model stops, and choose its margins: a curve of gain against harm.

    python scripts/stop_curve.py --data PHOTOS --part validation
    python scripts/stop_curve.py --data PHOTOS --part validation --set 0.5 1.0 0.08
    python scripts/stop_curve.py --data kodak24/ --patches 0 --draws 0 --card-only

A tool is applied only if the agent expects more of it than a margin: the start margin for the first tool, or
the light margin if that is the lightest of its kind, and the stop margin for every further one. The first row
is of the margins in the model's card, then come rows of one margin for all. Patches and whole photographs are
degraded by mild, moderate and severe mixtures; clean photographs are taken as they are, halved in size, and
saved as JPEG of quality 95 and 90. All are restored as `rlrestore restore` does. With `--part validation`
only the files are used that every training on this folder holds out: to choose the margins by. --set writes a
choice into the card of --model.
"""

import argparse
import itertools
import json
import sys
from pathlib import Path

from experiments.stopping import Margins, curve_point, curve_table, make_pairs, run_chains, touched_table
from rlrestore.cli.arguments import natural, seed_number
from rlrestore.cli.reporting import run_script
from rlrestore.evaluation.testsets import read_photos
from rlrestore.imaging.degradation.mixtures import MIXTURES
from rlrestore.imaging.io.atomic import write_atomically
from rlrestore.model_folder import find_model, set_margins
from rlrestore.runtime.torch_runtime import TorchRuntime

PLAIN = (0.0, 0.04, 0.08, 0.12, 0.16, 0.2, 0.3, 0.4)
"""Margins for all tools alike."""
STARTS, LIGHTS, STOPS = (0.3, 0.5, 0.7, 1.0), (0.5, 1.0, 1.5), (0.04, 0.08, 0.12)


def build_parser() -> argparse.ArgumentParser:
    """Return the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True, metavar="DIR", help="folder of clean photographs")
    parser.add_argument("--part", choices=("all", "validation"), default="all", help="(default: all)")
    parser.add_argument("--mixtures", nargs="+", choices=MIXTURES, default=MIXTURES, help="(default: all)")
    parser.add_argument(
        "--patches", type=natural, default=2000, metavar="N", help="of each mixture (default: 2000)"
    )
    parser.add_argument(
        "--draws",
        type=natural,
        default=1,
        metavar="N",
        help="how often each whole photograph is degraded by each mixture (default: 1)",
    )
    parser.add_argument("--seed", type=seed_number, default=0, metavar="N", help="(default: 0)")
    for name, default in (("--starts", STARTS), ("--lights", LIGHTS), ("--stops", STOPS)):
        parser.add_argument(name, type=float, nargs="+", default=default, metavar="DB", help=f"{default}")
    parser.add_argument("--card-only", action="store_true", help="no curve, only the margins of the card")
    parser.add_argument(
        "--set", type=float, nargs=3, metavar=("START", "LIGHT", "STOP"), help="write these into the card"
    )
    parser.add_argument("--model", default="default", metavar="M", help="name or folder (default: default)")
    parser.add_argument("--device", default="cpu", metavar="D")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the numbers to this file too")
    return parser


def run(args: argparse.Namespace) -> None:
    """Measure, print the curve and what clean photographs are given, and write what is asked for.

    Raises:
        RlrestoreError: No such model, device or photographs.
    """
    model = TorchRuntime.load(args.model, args.device)
    photos = read_photos(args.data, args.part)
    pairs = make_pairs(photos, args.mixtures, args.patches, args.draws, args.seed)
    chains = run_chains(model, pairs, progress=sys.stderr.isatty())
    margins, specs = [Margins.of(model)], model.tools.specs
    if not args.card_only:
        rows = [(margin_db,) * 3 for margin_db in PLAIN]
        rows += itertools.product(args.starts, args.lights, args.stops)
        distinct = dict.fromkeys((start, max(start, light), stop) for start, light, stop in rows)
        margins += [Margins.make(specs, *row) for row in distinct]
    points = [curve_point(chains, each) for each in margins]
    print(curve_table(points), touched_table(chains, margins[0]), sep="\n\n")
    if args.json is not None:
        content = [point.to_json() for point in points]
        write_atomically(args.json, (json.dumps(content, indent=2) + "\n").encode())
    if args.set is not None:
        chosen = Margins.make(specs, *args.set)
        set_margins(find_model(args.model), tuple(chosen.starts_db.values()), chosen.stop_db)


if __name__ == "__main__":
    sys.exit(run_script(build_parser(), run))
