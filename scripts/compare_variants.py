"""Variants of the tools at equal cost, time and data: the tables of docs/variants.md.

    python scripts/compare_variants.py --data PHOTOS --test TESTPHOTOS --minutes 1

One tool for all noise that takes a map of its strength, against its four siblings; attention and dropout in
a tool for mixtures. First a step of every network is timed, which says how many come to the minutes. Every
row of the tables becomes a file in --out when it was trained and measured, and one that has its file is not
repeated; a training that was cut goes on from its last minute. The tables, in Markdown, are of all rows in
--out.
"""

import argparse
import json
import logging
import sys
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path

import torch
from torch import Tensor, nn

from experiments.variant_report import (
    BLIND_USE,
    NETWORK_REFERENCE,
    NOISE_REFERENCE,
    GainsDb,
    Result,
    inspected_maps,
    measure_mixtures,
    measure_noise,
    mixture_sets,
    network_cost,
    noise_sets,
    read_result,
    table,
)
from experiments.variant_training import (
    BLIND,
    CONDITIONED,
    NETWORKS,
    SIBLINGS,
    ConditionedBatch,
    Variant,
    step_seconds,
    train_variant,
)
from rlrestore.cli.arguments import positive_float, positive_int
from rlrestore.cli.outputs import prepare_folder
from rlrestore.cli.reporting import run_script
from rlrestore.devices import keep_freed_memory
from rlrestore.explain.inspector import Inspector
from rlrestore.imaging import PATCH
from rlrestore.imaging.io.atomic import write_atomically
from rlrestore.imaging.pairs import context_side
from rlrestore.imaging.patches import PhotoBank
from rlrestore.toolbox.training import TRAINING_FOLDER

NOISE_ROWS = {"siblings": SIBLINGS, CONDITIONED.name: [CONDITIONED], BLIND.name: [BLIND]}
NETWORK_ROWS = {variant.name: [variant] for variant in NETWORKS}
ROWS: Mapping[str, list[Variant]] = NOISE_ROWS | NETWORK_ROWS
STEP_SECONDS = "step_seconds.json"
SEED = 0
"""Which patches are measured on."""

log = logging.getLogger("compare_variants")


class Comparison:
    """What the rows share; photographs are read when the first row needs them.

    Attributes:
        args: The command line.
        setup: What the file of a row records.
    """

    def __init__(self, args: argparse.Namespace) -> None:
        self.args = args
        names = {"data": args.data.name, "test": args.test.name}
        self.setup = {"minutes": args.minutes, "patches": args.patches, **names}

    @cached_property
    def bank(self) -> PhotoBank:
        """Photographs to train on."""
        return PhotoBank.from_folder(self.args.data, "train", smallest_side=context_side(PATCH))

    @cached_property
    def test_bank(self) -> PhotoBank:
        """Photographs to measure on, as large as they are."""
        return PhotoBank.from_folder(self.args.test, scales=(1.0,))

    @cached_property
    def noise(self) -> tuple[dict[str, ConditionedBatch], dict[str, Tensor]]:
        """Noisy patches, and maps of their noise as `inspect` sees it."""
        sets = noise_sets(self.test_bank, self.args.patches, SEED)
        inspector = Inspector.from_pretrained()
        maps = {name: inspected_maps(inspector, batch.degraded) for name, batch in sets.items()}
        for name, batch in sets.items():
            error = float((maps[name] - batch.strength_255).abs().mean())
            log.info("noise, %s: the map of inspect errs by %.1f of 255 in the mean", name, error)
        return sets, maps

    @cached_property
    def mixtures(self) -> dict[str, tuple[Tensor, Tensor]]:
        """Patches of mixtures and of what no training saw."""
        return mixture_sets(self.test_bank, 4 * self.args.patches, SEED)

    @cached_property
    def seconds(self) -> dict[str, float]:
        """What a step of each variant costs, measured once."""
        path = self.args.out / STEP_SECONDS
        if not path.exists():
            variants = [variant for row in ROWS.values() for variant in row]
            timed = step_seconds(variants, self.bank)
            write_atomically(path, json.dumps(timed, indent=1).encode())
        read: dict[str, float] = json.loads(path.read_text("utf-8"))
        return read

    def result(self, row: str) -> Result:
        """Train and measure a row."""
        steps: list[int] = []
        networks: list[nn.Module] = []
        for variant in ROWS[row]:
            steps.append(max(1, round(60 * self.args.minutes * variant.share / self.seconds[variant.name])))
            log.info("%s: %d steps", variant.name, steps[-1])
            networks.append(train_variant(variant, self.bank, steps[-1], self.args.out / TRAINING_FOLDER))
        gains = self._measure(row, networks)
        return Result(row, self.setup, steps, *network_cost(ROWS[row][0]), gains)

    def _measure(self, row: str, networks: list[nn.Module]) -> GainsDb:
        if row in NOISE_ROWS:
            return measure_noise(networks, *self.noise)
        return measure_mixtures(networks[0], row, self.mixtures)


def build_parser() -> argparse.ArgumentParser:
    """Return the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", required=True, type=Path, help="folder of photographs to train on")
    parser.add_argument("--test", required=True, type=Path, help="folder of photographs to measure on")
    parser.add_argument("--minutes", required=True, type=positive_float, help="of training, of each row")
    parser.add_argument(
        "--patches",
        type=positive_int,
        default=100,
        help="with noise of each kind (default: 100); of others four times",
    )
    parser.add_argument("--out", type=Path, default=Path("runs/variants"), help="(default: runs/variants)")
    parser.add_argument(
        "--only", nargs="+", choices=ROWS, default=list(ROWS), metavar="ROW", help="these rows"
    )
    return parser


def run(args: argparse.Namespace) -> None:
    """Train and measure what has no file yet, and print the tables of all rows that have one.

    Raises:
        RlrestoreError: Photographs cannot be read, or --out holds another comparison.
    """
    keep_freed_memory()
    torch.set_num_threads(1)
    prepare_folder(args.out, "the rows")
    comparison = Comparison(args)
    results: dict[str, Result] = {}
    for row in ROWS:
        found = read_result(args.out, row, comparison.setup)
        if found is None and row in args.only:
            found = comparison.result(row)
            found.save(args.out)
        if found is not None:
            results[row] = found
    for rows, reference, needed in (
        (tuple(NOISE_ROWS), NOISE_REFERENCE, 1),
        ((CONDITIONED.name, BLIND.name), BLIND_USE, 2),
        (tuple(NETWORK_ROWS), NETWORK_REFERENCE, 1),
    ):
        printed = [results[row] for row in rows if row in results]
        if len(printed) >= needed:
            print(table(printed, reference), end="\n\n")


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    sys.exit(run_script(build_parser(), run))
