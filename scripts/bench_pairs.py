"""Measure how long pairs of patches take to make: the protocol's, cameras', film's, and those of mixtures.

    python scripts/bench_pairs.py --data PHOTOS [--device cuda]

On the CPU the time is the processor's on one thread; the fastest of some rounds counts, so that a busy
machine changes little.
"""

import argparse
import math
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch

from rlrestore.devices import keep_freed_memory, resolve_device
from rlrestore.evaluation.costs import synchronize
from rlrestore.imaging.degradation.camera import SCALE_SHARES, CameraRecipe
from rlrestore.imaging.degradation.film import FILM, OLD_PRINT
from rlrestore.imaging.degradation.mixtures import MODERATE
from rlrestore.imaging.mixture_files import read_mixture, shipped_mixtures
from rlrestore.imaging.pairs import camera_pairs, degraded_pairs, film_pairs
from rlrestore.imaging.patches import PhotoBank
from rlrestore.imaging.recipes import draw_pairs, smallest_side


def fastest_seconds(device: torch.device, rounds: int, call: Callable[[], object]) -> float:
    """Return the shortest time of a call, after one that does not count."""
    clock = time.process_time if device.type == "cpu" else time.monotonic
    fastest = math.inf
    for number in range(rounds + 1):
        began = clock()
        call()
        synchronize(device)
        if number:
            fastest = min(fastest, clock() - began)
    return fastest


def main() -> None:
    """Print a line for each kind of pairs."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True, metavar="DIR", help="folder of photographs")
    parser.add_argument("--size", type=int, default=96, metavar="N", help="side of a patch (default: 96)")
    parser.add_argument("--batch", type=int, default=64, metavar="N", help="(default: 64)")
    parser.add_argument("--rounds", type=int, default=10, metavar="N", help="(default: 10)")
    parser.add_argument("--device", default="cpu", metavar="D")
    args = parser.parse_args()
    torch.set_num_threads(1)
    keep_freed_memory()  # as trainings do
    device, size, count = resolve_device(args.device), args.size, args.batch
    mixtures = {name: read_mixture(name).recipe for name in shipped_mixtures()}
    side = max(smallest_side(each, size) for each in mixtures.values())
    bank = PhotoBank.from_folder(args.data, "validation", smallest_side=side, device=device)
    generator, recipe = torch.Generator(device).manual_seed(0), CameraRecipe()
    kinds: dict[str, Callable[[], object]] = {
        "protocol": lambda: degraded_pairs(bank, MODERATE.sample(count, generator), size, generator),
        "film": lambda: film_pairs(bank, FILM, count, size, generator),
        "old print": lambda: film_pairs(bank, OLD_PRINT, count, size, generator),
        "camera, all scales": lambda: camera_pairs(bank, recipe, count, size, generator),
    }
    for name, mixture in mixtures.items():
        kinds[f"mixture {name}"] = partial(draw_pairs, bank, mixture, count, size, generator)
    for scale in SCALE_SHARES:
        kinds[f"camera, scaled down by {scale:g}"] = partial(
            camera_pairs, bank, recipe, count, size, generator, {scale: 1.0}
        )
    for name, make in kinds.items():
        milliseconds = 1e3 * fastest_seconds(device, args.rounds, make) / count
        print(f"{name}: {milliseconds:.3f} ms a patch of {size}×{size}")


if __name__ == "__main__":
    main()
