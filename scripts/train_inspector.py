r"""Train a model's inspector: what tells blur, noise and JPEG from the spectrum, and how sure it is.

    python scripts/train_inspector.py --data photos/ --out DIR
    python scripts/train_inspector.py --measure --test div2k_valid_256/ --whole kodak24/ \
        --real real-noise/ --out DIR

The first trains it on three quarters of `--data`, calibrates its intervals and its alarm on the other
quarter, in which are all photographs that every training holds out, and writes `inspector.safetensors` into
the model's folder. It does not depend on the agent's weights: the file of another model may as well be
copied. The second measures the inspector that is there and prints the tables of docs/inspect.md: on single
windows of `--test`, on whole photographs of `--whole`, on real cameras of `--real`, and on pictures that no
inspector has seen the like of. Both may be
asked for at once.
"""

import argparse
import shlex
import sys
import time
from pathlib import Path

import numpy as np
import torch

from experiments.inspector_data import draw_spectra
from experiments.inspector_report import (
    Judged,
    groups_table,
    measure_groups,
    measure_real,
    measure_strangers,
    strangers_table,
)
from experiments.inspector_training import (
    CALIBRATED_ON,
    calibrated,
    draw_pictures,
    fit_familiar,
    fit_network,
)
from rlrestore.cli.arguments import positive_int, seed_number
from rlrestore.cli.outputs import prepare_folder
from rlrestore.cli.reporting import run_script, say
from rlrestore.errors import UsageError
from rlrestore.explain.inspector import Inspector
from rlrestore.imaging import PATCH
from rlrestore.imaging.pairs import camera_context_side
from rlrestore.imaging.patches import PhotoBank
from rlrestore.inference.chains import STRIDE

HELD_OUT_SHARE = 4
"""One photograph in so many is calibrated on: what they have in common, intervals take for granted."""
WHOLE_WINDOWS = 11
"""Windows a side of what is cut out of a photograph of `--whole`: 383 pixels."""
SETS = ("test", "whole", "real")


def build_parser() -> argparse.ArgumentParser:
    """Return the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, help="photographs to train and calibrate on")
    parser.add_argument("--out", type=Path, required=True, help="the model's folder")
    parser.add_argument("--patches", type=positive_int, default=32000, help="default: %(default)s")
    parser.add_argument("--steps", type=positive_int, default=12000, help="of fitting (default: %(default)s)")
    parser.add_argument("--seed", type=seed_number, default=0)
    parser.add_argument("--measure", action="store_true", help="measure it on the sets below")
    parser.add_argument("--test", type=Path, help="photographs for single windows")
    parser.add_argument("--whole", type=Path, help="photographs of at least 452 pixels a side")
    parser.add_argument("--real", type=Path, help="pairs of real cameras")
    parser.add_argument(
        "--windows", type=positive_int, default=1000, help="of each kind (default: %(default)s)"
    )
    parser.add_argument(
        "--pictures", type=positive_int, default=60, help="of each kind (default: %(default)s)"
    )
    return parser


def train(args: argparse.Namespace) -> Inspector:
    """Train and calibrate an inspector.

    Raises:
        DataError: The photographs cannot be used.
    """
    began = time.monotonic()
    generator = torch.Generator().manual_seed(args.seed)
    least, whole = (camera_context_side(PATCH + (most - 1) * STRIDE) for most in (1, max(CALIBRATED_ON)))
    bank = PhotoBank.from_folder(args.data, "train", smallest_side=least, held_out_share=HELD_OUT_SHARE)
    spectra, truth = draw_spectra(bank, args.patches, generator)
    say(f"{len(spectra)} patches of {len(bank)} photographs after {time.monotonic() - began:.0f} s")
    weights = fit_network(spectra, truth, args.steps, args.seed)
    weights |= fit_familiar(spectra, weights)
    weights = {name: array.astype(np.float16).astype(np.float32) for name, array in weights.items()}
    say(f"fitted after {time.monotonic() - began:.0f} s")
    patches, photos = (
        PhotoBank.from_folder(
            args.data, "validation", scales, smallest_side=side, held_out_share=HELD_OUT_SHARE
        )
        for scales, side in (((1.0, 2 / 3), least), ((1.0,), whole))
    )
    pictures = [
        draw_pictures(patches if windows == 1 else photos, count, windows, generator)
        for windows, count in CALIBRATED_ON.items()
    ]
    inspector = calibrated(weights, pictures)
    spent = time.monotonic() - began
    say(f"calibrated on {[len(truth) for _, truth in pictures]} pictures after {spent:.0f} s")
    return inspector.with_facts(
        command=shlex.join(["python", *sys.argv]),
        data=f"{len(bank)} photographs to train on, {len(patches)} to calibrate on (scales counted), "
        f"{len(photos)} of them whole",
        seed=args.seed,
        minutes=round(spent / 60, 1),
    )


def measure(inspector: Inspector, args: argparse.Namespace) -> None:
    """Measure an inspector on the sets that are named, and print the tables."""
    seed, strangers, results = args.seed + 1, {}, dict[str, dict[str, Judged]]()
    if args.test is not None:
        bank = PhotoBank.from_folder(args.test, smallest_side=camera_context_side(PATCH))
        results["windows"] = measure_groups(inspector, bank, args.windows, 1, seed)
        strangers["windows"] = measure_strangers(inspector, bank, max(1, args.windows // 4), 1, seed)
    if args.whole is not None:
        side = camera_context_side(PATCH + (WHOLE_WINDOWS - 1) * STRIDE)
        bank = PhotoBank.from_folder(args.whole, scales=(1.0,), smallest_side=side)
        results["photographs"] = measure_groups(inspector, bank, args.pictures, WHOLE_WINDOWS, seed)
        strangers["photographs"] = measure_strangers(inspector, bank, args.pictures, WHOLE_WINDOWS, seed)
    if args.real is not None:
        results.setdefault("photographs", {})["real cameras"] = measure_real(inspector, args.real)
    for title, groups in results.items():
        print(f"\n{title}\n\n{groups_table(groups)}")
    if strangers:
        print(f"\n{strangers_table(strangers)}")


def run(args: argparse.Namespace) -> None:
    """Train, write and measure, as asked.

    Raises:
        RlrestoreError: The photographs or the model cannot be read, or the inspector not be written.
    """
    if args.measure and all(getattr(args, name) is None for name in SETS):
        raise UsageError("--measure needs something to measure on: --test, --whole or --real")
    if args.data is None and not args.measure:
        raise UsageError("expected --data to train on, or --measure")
    if args.data is not None:
        prepare_folder(args.out)
        train(args).save(args.out)
        say(f"wrote the inspector into {args.out}")
    if args.measure:
        measure(Inspector.from_pretrained(args.out), args)


if __name__ == "__main__":
    sys.exit(run_script(build_parser(), run))
