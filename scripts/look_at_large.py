"""Which windows of a large photograph the agent should look at, and at which size.

    python scripts/look_at_large.py --data photos/ --count 8 --megapixels 12

Large photographs are made of many of the part of `--data` that every training holds out, enlarged as at a
camera's full resolution, and each is taken by a simulated camera. Every rule of looking chooses a chain for
each of them; the gains stand beside that of a greedy oracle. Prints the table of docs/camera.md.
"""

import argparse
import sys
from pathlib import Path

import numpy as np
from tqdm import tqdm

from experiments.looking import compare_rules, large_photo, rules_table, take
from rlrestore.cli.arguments import positive_float, positive_int
from rlrestore.cli.reporting import run_script
from rlrestore.imaging.io.files import list_photos, read_rgb8
from rlrestore.imaging.patches import choose_part
from rlrestore.restorer import Restorer


def run(args: argparse.Namespace) -> None:
    """Make the photographs, let every rule choose, and print.

    Raises:
        RlrestoreError: The photographs or the model cannot be read.
    """
    photos = [read_rgb8(path) for path in choose_part(list_photos(args.data), "validation")]
    runtime = Restorer.from_pretrained(args.model, args.device).runtime
    found = []
    for number in tqdm(range(args.count), unit="photograph", disable=None):
        seed = args.seed + number
        noisy, target = take(large_photo(photos, args.megapixels, np.random.default_rng(seed)), seed)
        found.append(compare_rules(runtime.tools, runtime.agent, noisy, target))
        for looked in found[-1]:
            chain = ", ".join(looked.chain) or "left alone"
            print(f"{number}: {looked.rule}: {chain}, {looked.gain_db:+.2f} dB", flush=True)
    print(f"\n{rules_table(found)}")


def main() -> int:
    """Run the script."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True, metavar="DIR", help="clean photographs")
    parser.add_argument("--count", type=positive_int, default=8, metavar="N", help="(default: 8)")
    parser.add_argument("--megapixels", type=positive_float, default=12.0, metavar="M", help="(default: 12)")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="(default: 0)")
    parser.add_argument("--model", default="default", metavar="M", help="name or folder")
    parser.add_argument("--device", default="cpu", metavar="D")
    return run_script(parser, run)


if __name__ == "__main__":
    sys.exit(main())
