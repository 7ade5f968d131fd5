"""Project the features of agent and tools, coloured by degradation, before and after training.

    python scripts/project_features.py --data div2k_valid_256/ --out docs/degradation_features.png

The same patches of `--data` are degraded in five ways and shown to the model, and to the same networks with
their first, untrained weights. Prints the score of Calinski and Harabasz of every layer: high where features
gather by degradation, whatever the patches show. It needs the extra `research`.
"""

import argparse
import sys
from pathlib import Path

import torch

from experiments.degradation_features import (
    TOOLS,
    all_layers,
    before_training,
    draw_kinds,
    plot,
    project,
    scores_table,
)
from experiments.presentation import require_matplotlib
from rlrestore.agent.policy import Policy
from rlrestore.cli.arguments import positive_int, seed_number
from rlrestore.cli.outputs import prepare_output
from rlrestore.cli.reporting import run_script
from rlrestore.errors import UsageError
from rlrestore.imaging import PATCH
from rlrestore.imaging.pairs import context_side
from rlrestore.imaging.patches import PhotoBank
from rlrestore.runtime.torch_runtime import TorchRuntime


def build_parser() -> argparse.ArgumentParser:
    """Return the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True, help="photographs")
    parser.add_argument("--out", type=Path, required=True, help="the figure to write")
    parser.add_argument("--model", default="default", help="name or folder (default: the shipped one)")
    parser.add_argument(
        "--patches", type=positive_int, default=60, help="of each kind (default: %(default)s)"
    )
    parser.add_argument("--seed", type=seed_number, default=0)
    return parser


def run(args: argparse.Namespace) -> None:
    """Compute the features, print the table, and draw the figure.

    Raises:
        RlrestoreError: The photographs or the model cannot be read, or matplotlib is missing.
    """
    require_matplotlib()
    prepare_output(args.out)
    model = TorchRuntime.load(args.model, precision="float32")
    if not isinstance(model.policy, Policy):
        raise UsageError("expected an agent that observes the spectrum, got one that observes the patch")
    if not set(TOOLS) <= set(model.toolbox.names):
        raise UsageError(
            f"expected a model with the tools {', '.join(TOOLS)}, got {', '.join(model.toolbox.names)}"
        )
    bank = PhotoBank.from_folder(args.data, scales=(1.0,), smallest_side=context_side(PATCH))
    images = draw_kinds(bank, args.patches, torch.Generator().manual_seed(args.seed))
    first = before_training(model.policy, model.toolbox, args.seed)
    before, after = (
        {name: project(layer) for name, layer in all_layers(*networks, images).items()}
        for networks in (first, (model.policy, model.toolbox))
    )
    print(scores_table(before, after))
    plot(before, after, args.out)


if __name__ == "__main__":
    sys.exit(run_script(build_parser(), run))
