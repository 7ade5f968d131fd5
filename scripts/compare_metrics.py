"""Compare the metrics of `rlrestore evaluate`: do they prefer the same of a model's own outputs?

    python scripts/compare_metrics.py --data div2k_valid_256/
    python scripts/compare_metrics.py --data examples/clean/ --picture metrics.png

Of every patch there are 14 outputs by the default model: as it came, by every tool once, and by the agent.
Printed is Spearman's rank correlation of every two metrics, GMSD with its sign reversed: over the outputs of
a patch, the mean over patches; over patches, of what the agent gained; how often both prefer the same output
of all; and how long each takes beside SSIM. The picture shows the pairs of outputs about which PSNR and
another metric disagree most.
"""

import argparse
import json
import sys
from pathlib import Path

from experiments.metric_agreement import agreement_json, agreement_tables, measure_outputs, quarrel_picture
from rlrestore.cli.arguments import positive_int, seed_number
from rlrestore.cli.outputs import write_picture
from rlrestore.cli.reporting import run_script
from rlrestore.evaluation.testsets import generate, read_photos
from rlrestore.imaging.degradation.mixtures import MIXTURES
from rlrestore.imaging.io.atomic import write_atomically
from rlrestore.runtime.torch_runtime import TorchRuntime


def build_parser() -> argparse.ArgumentParser:
    """Return the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True, metavar="DIR", help="folder of clean photographs")
    parser.add_argument("--split", choices=tuple(MIXTURES), default="moderate", help="(default: moderate)")
    parser.add_argument("--patches", type=positive_int, default=300, metavar="N", help="(default: 300)")
    parser.add_argument("--seed", type=seed_number, default=0, metavar="N", help="which patches (default: 0)")
    parser.add_argument("--model", default="default", metavar="M", help="name or folder (default: default)")
    parser.add_argument("--picture", type=Path, metavar="FILE", help="draw the pairs into this PNG file")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the numbers to this file too")
    return parser


def run(args: argparse.Namespace) -> None:
    """Measure, print the tables, and write picture and numbers if asked to.

    Raises:
        RlrestoreError: No such model or photographs, or a file cannot be written.
    """
    model = TorchRuntime.load(args.model)
    pairs = generate(read_photos(args.data), MIXTURES[args.split], args.patches, args.seed)
    outputs = measure_outputs(model, pairs)
    print(agreement_tables(outputs))
    if args.picture is not None:
        write_picture(args.picture, quarrel_picture(model, outputs))
    if args.json is not None:
        write_atomically(args.json, (json.dumps(agreement_json(outputs), indent=2) + "\n").encode())


if __name__ == "__main__":
    sys.exit(run_script(build_parser(), run))
