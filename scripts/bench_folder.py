"""Measure what a folder of small photographs costs beyond the networks: reading, looking, writing.

    python scripts/bench_folder.py --data div2k_valid_256/ --count 100

Windows of 256×256 pixels are damaged by random draws of the moderate mixture, written as PNG, and restored by
one call of `rlrestore restore`. Then the very tools that were applied are applied once more to the same
pixels, in memory and without anything else: the bare networks. Both take turns, and the shortest time of each
counts. Times are only good on an idle machine.
"""

import argparse
import contextlib
import io
import itertools
import json
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from rlrestore.chains import apply_tool_
from rlrestore.cli.arguments import positive_int
from rlrestore.cli.main import main as rlrestore
from rlrestore.cli.reporting import run_script
from rlrestore.comparison_sets import Pixels, degraded_photos
from rlrestore.errors import RlrestoreError
from rlrestore.imaging.files import read_photo, write_photo
from rlrestore.imaging.mixtures import MODERATE
from rlrestore.photos import as_photo, to_tensor
from rlrestore.restore import Restorer
from rlrestore.testsets import read_photos

SIDE = 256


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


def write_damaged(photos: Sequence[Pixels], count: int, folder: Path) -> None:
    """Write so many damaged windows of photographs, numbered in their order."""
    cut = [photo[:SIDE, :SIDE] for photo in itertools.islice(itertools.cycle(photos), count)]
    for number, (degraded, _) in enumerate(degraded_photos(cut, MODERATE, seed=0)):
        write_photo(folder / f"{number:05d}.png", as_photo(degraded))


def time_folder(folder: Path, out: Path, args: argparse.Namespace) -> tuple[float, list[list[str]]]:
    """Restore a folder by the command; return the seconds, and the tools of each image.

    Raises:
        RlrestoreError: Some image failed.
    """
    said = io.StringIO()
    began = time.perf_counter()
    with contextlib.redirect_stdout(said), contextlib.redirect_stderr(io.StringIO()):
        options = ["--model", args.model, "--device", args.device, "--json"]
        code = rlrestore(["restore", str(folder), "-o", f"{out}/", *options])
    took = time.perf_counter() - began
    if code:
        raise RlrestoreError("expected all images to be restored, but some failed")
    return took, [json.loads(line)["tools"] for line in said.getvalue().splitlines()]


@torch.inference_mode()
def time_networks(restorer: Restorer, images: Sequence[Tensor], chains: Sequence[Sequence[str]]) -> float:
    """Apply to each image `(1, 3, H, W)` its own tools and nothing else; return the seconds."""
    copies = [image.clone() for image in images]
    began = time.perf_counter()
    for image, chain in zip(copies, chains, strict=True):
        for tool in chain:
            apply_tool_(restorer.toolbox, restorer.toolbox.names.index(tool), image)
    if restorer.device.type == "cuda":
        torch.cuda.synchronize(restorer.device)
    return time.perf_counter() - began


def run(args: argparse.Namespace) -> None:
    """Measure, and print the rates.

    Raises:
        RlrestoreError: No photographs, no such model, or some image failed.
    """
    torch.set_num_threads(args.threads)
    restorer = Restorer.from_pretrained(args.model, args.device)
    photos = read_photos(args.data)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "in"
        folder.mkdir()
        write_damaged(photos, args.count, folder)
        images = [to_tensor(read_photo(path), restorer.device) for path in sorted(folder.iterdir())]
        whole, bare = [], []
        for number in range(args.rounds):
            seconds, chains = time_folder(folder, Path(name) / f"out-{number}", args)
            whole.append(seconds)
            bare.append(time_networks(restorer, images, chains))
    tools = sum(map(len, chains)) / args.count
    print(
        f"{args.count} photographs of {SIDE}×{SIDE}, {tools:.2f} tools each: {args.count / min(whole):.2f} a "
        f"second by the command, {args.count / min(bare):.2f} by the bare networks: "
        f"{min(bare) / min(whole):.0%}"
    )


if __name__ == "__main__":
    sys.exit(run_script(build_parser(), run))
