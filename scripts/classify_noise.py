"""Whether the agent's features tell a camera's noise from texture, film grain and white noise.

    python scripts/classify_noise.py --data photos/ --pairs real-noise/

A small classifier is trained on patches of the training part of `--data` and asked about the part that every
training holds out: on the agent's spectrum, on what the model's agent makes of it, and on added features.
`--pairs` holds real pairs, on which the classifiers are only asked. Prints the tables of docs/camera.md.
"""

import argparse
import sys
from pathlib import Path

import torch

from experiments.noise_classifier import (
    Features,
    brightness_features,
    classification_table,
    classify,
    colour_features,
    confusion_table,
    draw_patches,
    real_patches,
    spectrum_features,
    trunk_features,
)
from rlrestore.cli.arguments import positive_int
from rlrestore.cli.reporting import run_script
from rlrestore.imaging.patches import Part, PhotoBank
from rlrestore.runtime.torch_runtime import TorchRuntime


def joined(*parts: Features) -> Features:
    """Return several sets of features as one."""
    return lambda images: torch.cat([part(images) for part in parts], dim=1)


def run(args: argparse.Namespace) -> None:
    """Draw patches, train the classifiers, and print the tables.

    Raises:
        RlrestoreError: The photographs or the model cannot be read.
    """
    policy = TorchRuntime.load(args.model).policy
    parts: tuple[Part, Part] = ("train", "validation")
    banks = [PhotoBank.from_folder(args.data, part, scales=(1.0,), smallest_side=256) for part in parts]
    scenes = (args.scenes, max(1, args.scenes // 2))
    train, test = (
        draw_patches(bank, count, torch.Generator().manual_seed(args.seed + number))
        for number, (bank, count) in enumerate(zip(banks, scenes, strict=True))
    )
    print(f"{len(train.strength_255)} scenes to train on, {len(test.strength_255)} to ask about\n")
    sets = {
        "the agent's spectrum": spectrum_features,
        "what its network makes of it": trunk_features(policy),
        "noise against brightness": brightness_features,
        "agreement of colours": colour_features,
        "spectrum, brightness": joined(spectrum_features, brightness_features),
        "spectrum, brightness, colours": joined(spectrum_features, brightness_features, colour_features),
    }
    real = None if args.pairs is None else real_patches(args.pairs)
    classifications = [
        classify(name, features, train, test, real, args.seed) for name, features in sets.items()
    ]
    print(classification_table(classifications), end="\n\n")
    print(confusion_table(classifications[0]))


def main() -> int:
    """Run the script."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True, metavar="DIR", help="clean photographs")
    parser.add_argument("--pairs", type=Path, metavar="DIR", help="real pairs NAME_real, NAME_mean")
    parser.add_argument("--scenes", type=positive_int, default=2000, metavar="N", help="(default: 2000)")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="(default: 0)")
    parser.add_argument("--model", default="default", metavar="M", help="name or folder")
    return run_script(parser, run)


if __name__ == "__main__":
    sys.exit(main())
