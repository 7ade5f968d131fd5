"""Measure how fast tools are trained, and how much of a step is spent on making data.

    python scripts/bench_training.py --data PHOTOS [--device cuda]

On the CPU the time is the processor's on one thread, so that a busy machine changes little.
"""

import argparse
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch

from rlrestore.devices import bfloat16_pays
from rlrestore.imaging.pairs import context_side, degraded_pairs
from rlrestore.imaging.patches import PhotoBank
from rlrestore.toolbox.distortions import training_distortion
from rlrestore.toolbox.specs import TOOLS, ToolSpec, tool_index
from rlrestore.toolbox.training import DRAWN_STEPS, ToolTrainer, TrainingSettings

WARM_UP_STEPS, STEPS = 16, 160


def seconds_per_call(device: torch.device, call: Callable[[], object]) -> float:
    """Return the mean time of a call."""
    clock = time.process_time if device.type == "cpu" else time.monotonic
    for _ in range(WARM_UP_STEPS):
        call()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    began = clock()
    for _ in range(STEPS):
        call()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return (clock() - began) / STEPS


def make_data(bank: PhotoBank, specs: list[ToolSpec], generator: torch.Generator) -> None:
    """Make the pairs of several steps."""
    degraded_pairs(bank, training_distortion(specs, generator), TrainingSettings.patch, generator)


def main() -> None:
    """Print a line for a tool of each depth."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--device", default="cpu")
    args = parser.parse_args()
    torch.set_num_threads(1)
    settings = TrainingSettings(steps=1)
    bank = PhotoBank.from_folder(
        args.data, "validation", smallest_side=context_side(settings.patch), device=args.device
    )
    print(f"{bank.device}, bfloat16 pays: {bfloat16_pays(bank.device)}")
    for name in ("denoise-1", "denoise-3"):
        spec = TOOLS[tool_index(name)]
        with tempfile.TemporaryDirectory() as folder:
            trainer = ToolTrainer(spec, settings, Path(folder), bank.device)
        generator, count = torch.Generator(bank.device).manual_seed(0), settings.batch * DRAWN_STEPS

        step = partial(trainer._step, bank, 0.5)
        data_of_steps = partial(make_data, bank, [spec] * count, generator)
        whole = seconds_per_call(bank.device, step)
        data = seconds_per_call(bank.device, data_of_steps) / DRAWN_STEPS
        side = settings.patch
        print(
            f"{spec.depth} layers: {settings.batch / whole:.0f} patches of {side}×{side} a second, "
            f"{data / whole:.0%} of a step is making data"
        )


if __name__ == "__main__":
    main()
