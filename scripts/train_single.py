"""Train one network on the whole moderate mixture: what a user would try instead of a toolbox.

    python scripts/train_single.py --data PHOTOS --out DIR --minutes M

The network is that of an 8-layer tool, and so is everything about its training but what it is trained on.
`rlrestore evaluate --tools --against DIR` sets it beside the tools.
"""

import argparse
import logging
import math
import shlex
import sys
from pathlib import Path

from rlrestore.cli.arguments import positive_float, positive_int
from rlrestore.imaging.mixtures import MODERATE
from rlrestore.imaging.pairs import context_side
from rlrestore.imaging.patches import PhotoBank
from rlrestore.toolbox.specs import ToolSpec
from rlrestore.toolbox.storage import save_toolbox
from rlrestore.toolbox.toolbox import Toolbox
from rlrestore.toolbox.training import CHECKPOINT_FOLDER, ToolTrainer, TrainingSettings

SINGLE = ToolSpec("single", "mixture", MODERATE.lowest, MODERATE.highest, depth=8)


def main() -> None:
    """Train it, go on where it was stopped, and write it as a toolbox of one tool."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", required=True, type=Path, help="folder of photographs to train on")
    parser.add_argument("--out", required=True, type=Path, help="the model folder to write")
    budget = parser.add_mutually_exclusive_group(required=True)
    budget.add_argument("--minutes", type=positive_float)
    budget.add_argument("--steps", type=positive_int)
    parser.add_argument("--device", default="cpu")
    args = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    settings = TrainingSettings(minutes=args.minutes, steps=args.steps)
    bank, validation = (
        PhotoBank.from_folder(args.data, part, smallest_side=context_side(settings.patch), device=args.device)
        for part in ("train", "validation")
    )
    trainer = ToolTrainer(SINGLE, settings, args.out / CHECKPOINT_FOLDER, bank.device)
    trainer.train(bank, (args.minutes or math.inf) * 60 - trainer.seconds)
    report = trainer.report(validation)
    print(report.line())
    record = {"stage": "tools", "command": shlex.join(sys.argv), "networks": [report.record()]}
    toolbox = Toolbox([SINGLE], networks=[trainer.network])
    save_toolbox(args.out, toolbox, {"name": "single", "training": [record]})


if __name__ == "__main__":
    main()
