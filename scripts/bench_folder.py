"""Measure what a folder of small photographs costs beyond the tools: reading, the agent, writing.

    python scripts/bench_folder.py --data div2k_valid_256/ --count 100

Windows of 256×256 pixels are degraded by random draws of the moderate mixture, written as PNG, and restored
by one call of `rlrestore restore`. Then the tools of each chain are applied once more to the same pixels, in
memory and without anything else, alone and with the agent's network on as many windows as it had: the bare
networks, one photograph after another by all cores and side by side, a core each. The measurements alternate,
and the shortest time of each counts. With --threads 1 the time
is the processor's own, whatever else the machine does; else it is only good on an idle machine.

At the end stands where the time of the command goes, as shares of what its threads compute.
"""

import argparse
import contextlib
import functools
import io
import itertools
import json
import sys
import tempfile
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import torch

from experiments.comparison_sets import Pixels, degraded_photos
from experiments.part_clock import now
from rlrestore.cli.arguments import positive_int
from rlrestore.cli.main import main as rlrestore
from rlrestore.cli.reporting import run_script
from rlrestore.errors import RlrestoreError
from rlrestore.evaluation.testsets import read_photos
from rlrestore.imaging import PATCH
from rlrestore.imaging.degradation.mixtures import MODERATE
from rlrestore.imaging.io import files
from rlrestore.imaging.io.files import read_photo, write_photo
from rlrestore.inference.chains import GLOBAL_WINDOWS, STRIDE, apply_tool_
from rlrestore.inference.photos import as_photo, to_planes
from rlrestore.inference.restoration import Restoration
from rlrestore.inference.windows import WindowGrid, mirrored
from rlrestore.restorer import Restorer
from rlrestore.runtime import Floats, Runtime
from rlrestore.runtime.torch_runtime import TorchAgent, TorchTools
from rlrestore.toolbox.specs import NO_ACTION

SIDE = 256
CPU = torch.device("cpu")
PARTS = {
    "tools": (TorchTools, "begin"),
    "agent": (TorchAgent, "values"),
    "reading": (files, "read_photo"),
    "writing": (Restoration, "save"),
}
"""What is clocked of the command, by its place."""


def build_parser() -> argparse.ArgumentParser:
    """Return the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True, metavar="DIR", help="folder of photographs")
    parser.add_argument("--count", type=positive_int, default=100, metavar="N", help="(default: 100)")
    parser.add_argument("--rounds", type=positive_int, default=2, metavar="N", help="(default: 2)")
    parser.add_argument("--model", default="default", metavar="M", help="(default: default)")
    parser.add_argument("--threads", type=positive_int, default=2, metavar="N", help="(default: 2)")
    parser.add_argument("--device", default="cpu", metavar="D", help="(default: cpu)")
    return parser


def write_degraded(photos: Sequence[Pixels], count: int, folder: Path) -> None:
    """Write `count` degraded windows of photographs, numbered in their order."""
    cut = [photo[:SIDE, :SIDE] for photo in itertools.islice(itertools.cycle(photos), count)]
    for number, (degraded, _) in enumerate(degraded_photos(cut, MODERATE, seed=0)):
        write_photo(folder / f"{number:05d}.png", as_photo(degraded))


@contextlib.contextmanager
def clocked_parts() -> Iterator[dict[str, float]]:
    """Add up the processor's seconds that threads spend in each part of the command."""
    spent = dict.fromkeys(PARTS, 0.0)

    def clocked(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def run(*args: Any, **kwargs: Any) -> Any:
            began = time.thread_time()
            try:
                return function(*args, **kwargs)
            finally:
                spent[name] += time.thread_time() - began

        return run

    with contextlib.ExitStack() as patches:
        for name, (place, function) in PARTS.items():
            patches.enter_context(mock.patch.object(place, function, clocked(name, getattr(place, function))))
        yield spent


def time_folder(folder: Path, out: Path, args: argparse.Namespace) -> tuple[float, list[list[str]]]:
    """Restore a folder by the command; return the seconds, and the tools of each image.

    Raises:
        RlrestoreError: Some image failed.
    """
    said = io.StringIO()
    began = now(CPU)
    with contextlib.redirect_stdout(said), contextlib.redirect_stderr(io.StringIO()):
        options = ["--model", args.model, "--device", args.device, "--json"]
        code = rlrestore(["restore", str(folder), "-o", f"{out}/", *options])
    took = now(CPU) - began
    if code:
        raise RlrestoreError("expected all images to be restored, but some failed")
    return took, [json.loads(line)["tools"] for line in said.getvalue().splitlines()]


def apply_networks(runtime: Runtime, agent: bool, image: Floats, chain: Sequence[str]) -> None:
    """Apply a chain's tools to an image `(1, 3, H, W)` in place, and the agent before each if that is wanted.

    The agent is given the windows of the image as it came, for its time does not depend on what it is given.
    """
    tools, (height, width) = runtime.tools, image.shape[-2:]
    grid = WindowGrid.cover(height, width, PATCH, STRIDE, GLOBAL_WINDOWS[0])
    if agent:
        windows = grid.patches(mirrored(image, PATCH), np.arange(len(grid)))
        last, memory = np.full(len(grid), NO_ACTION, np.int64), runtime.agent.empty_memory(len(grid))
        for _ in range(min(len(chain) + 1, runtime.agent.max_steps)):
            _, memory = runtime.agent.values(windows, last, memory)
    for tool in chain:
        apply_tool_(tools, tools.names.index(tool), image)


def time_networks(
    runtime: Runtime, images: Sequence[Floats], chains: Sequence[Sequence[str]], workers: int, agent: bool
) -> float:
    """Apply to each image `(1, 3, H, W)` its own tools and nothing else; return the seconds.

    Args:
        runtime: Whose tools.
        images: Each is copied first.
        chains: The tools of each image.
        workers: Threads that share the images, a core each; 0 for one image after another by all cores.
        agent: Whether the agent's network is applied, too.
    """
    apply = functools.partial(apply_networks, runtime, agent)
    copies = [image.copy(order="K") for image in images]
    with ThreadPoolExecutor(max(1, workers), initializer=torch.set_num_threads, initargs=(1,)) as pool:
        began = now(CPU)
        deque((pool.map if workers else map)(apply, copies, chains), maxlen=0)
        return now(CPU) - began


def run(args: argparse.Namespace) -> None:
    """Measure, and print the rates.

    Raises:
        RlrestoreError: No photographs, no such model, or some image failed.
    """
    torch.set_num_threads(args.threads)
    runtime = Restorer.from_pretrained(args.model, args.device).runtime
    orders = [(0, "one photograph after another"), (args.threads, f"{args.threads} side by side")]
    ways = [
        (f"{what}, {how}", workers, agent)
        for workers, how in orders[: 2 if args.threads > 1 else 1]
        for agent, what in ((False, "the tools alone"), (True, "tools and agent alone"))
    ]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "in"
        folder.mkdir()
        write_degraded(read_photos(args.data), args.count, folder)
        images = [to_planes(read_photo(path)) for path in sorted(folder.iterdir())]
        whole, bare = [], []
        for number in range(args.rounds):
            began = time.process_time()
            with clocked_parts() as spent:
                seconds, chains = time_folder(folder, Path(name) / f"out-{number}", args)
            shares = shares_text(spent, time.process_time() - began)
            whole.append(seconds)
            bare.append([time_networks(runtime, images, chains, *rest) for _, *rest in ways])
    tools = sum(map(len, chains)) / args.count
    print(f"{args.count} photographs of {SIDE}×{SIDE}, {tools:.2f} tools each, a second:")
    print(f"  {args.count / min(whole):.2f} by the command")
    for (what, *_), times in zip(ways, zip(*bare, strict=True), strict=True):
        print(f"  {args.count / min(times):.2f} by {what}: {min(times) / min(whole):.0%}")
    print(f"of the command's time: {shares}")


def shares_text(spent: dict[str, float], seconds: float) -> str:
    """Return the share of each part, and of the rest, in so many seconds of the processor."""
    rest = {"rest": seconds - sum(spent.values())}
    return ", ".join(f"{name} {part / seconds:.0%}" for name, part in {**spent, **rest}.items())


if __name__ == "__main__":
    sys.exit(run_script(build_parser(), run))
