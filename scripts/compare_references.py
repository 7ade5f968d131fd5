"""What a reference with a JPEG of its own changes: gains of the tools on simulated cameras by two references.

    python scripts/compare_references.py --data PHOTOS

Pairs of real photographs have the mean of many shots for their reference, and both were saved as JPEG. A
simulated camera's reference is what it would have written without noise and without JPEG. Patches of held-out
photographs are taken by cameras as training draws them, but with noise as of the real pairs and saved by a
last JPEG of the same quality; the table, in Markdown, says what each tool gains, and on how many patches it
gains most, by the reference as it is and by the reference saved likewise.
"""

import argparse
import math
import sys
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from rlrestore.agent.rollout import greedy, roll_out
from rlrestore.agent.storage import load_agent
from rlrestore.cli.arguments import percentage, positive_int, seed_number
from rlrestore.cli.reporting import run_script
from rlrestore.imaging import PATCH
from rlrestore.imaging.degradation.camera import CameraRecipe
from rlrestore.imaging.degradation.compression import compress
from rlrestore.imaging.degradation.development import context_px, expose
from rlrestore.imaging.metrics import psnr_db
from rlrestore.imaging.pairs import coded_side
from rlrestore.imaging.patches import PhotoBank
from rlrestore.model_folder import find_model
from rlrestore.toolbox.storage import load_toolbox
from rlrestore.toolbox.toolbox import Toolbox

SHOT_ENDS = (3e-4, 4e-3)
"""Range of the noise, drawn log-uniform: about that of the real pairs."""


def take(bank: PhotoBank, count: int, quality: int, seed: int) -> tuple[Tensor, Tensor, Tensor]:
    """Return patches as cameras wrote them, their references, and these saved likewise: `(B, 3, 63, 63)`."""
    generator = torch.Generator().manual_seed(seed)
    cameras = CameraRecipe(clean_share=0.0).sample(count, generator)
    low, high = map(math.log, SHOT_ENDS)
    shot = (low + (high - low) * torch.rand(count, generator=generator)).exp()
    once = replace(
        cameras.compression,
        quality=torch.full((count,), float(quality)),
        full_chroma=torch.zeros(count, dtype=torch.bool),
    )
    margin = context_px(cameras.scale)
    scenes = bank.crops(count, coded_side(PATCH) + 2 * margin, generator)
    noisy, target = expose(scenes, replace(cameras, shot=shot), generator, margin)
    written = (compress(noisy, once), target, compress(target, once))
    degraded, reference, saved = (each[..., :PATCH, :PATCH] for each in written)
    return degraded, reference, saved


def gains_db(toolbox: Toolbox, degraded: Tensor, references: tuple[Tensor, ...]) -> Tensor:
    """Return `(R, B, N)`: what each tool gains on each patch by each reference."""
    made = [toolbox.apply_tool(index, degraded).clamp(0, 1) for index in range(toolbox.stop)]
    return torch.stack(
        [
            torch.stack([psnr_db(each, clean) - psnr_db(degraded, clean) for each in made], dim=1)
            for clean in references
        ]
    )


@torch.inference_mode()
def run(args: argparse.Namespace) -> None:
    """Measure and print the table.

    Raises:
        RlrestoreError: There are no photographs, or no such model.
    """
    bank = PhotoBank.from_folder(
        args.data, "validation", smallest_side=coded_side(PATCH) + 2 * context_px(1.0)
    )
    degraded, target, saved = take(bank, args.count, args.jpeg, args.seed)
    toolbox = load_toolbox(find_model(args.model))
    policy = load_agent(find_model(args.model), toolbox)
    gains = gains_db(toolbox, degraded, (target, saved))
    chosen = roll_out(toolbox, degraded, greedy(policy), 1).actions[:, 0]
    print("| tool | gain, dB | best on | saved likewise: gain, dB | best on | chosen first on |")
    print("|---|---|---|---|---|---|")
    for index, name in enumerate(toolbox.names):
        cells = [
            f"{each.mean(dim=0)[index]:+.2f} | {int((each.argmax(dim=1) == index).sum())}" for each in gains
        ]
        print(f"| {name} | {' | '.join(cells)} | {int((chosen == index).sum())} |")
    stop = torch.zeros(*gains.shape[:2], 1)
    first = torch.cat((gains, stop), dim=2).gather(2, chosen.expand(2, -1)[..., None]).mean(dim=(1, 2))
    best = gains.amax(dim=2).clamp(min=0).mean(dim=1)
    stops = int((chosen == toolbox.stop).sum())
    print(f"| the agent's first | {first[0]:+.2f} | | {first[1]:+.2f} | | stop: {stops} |")
    print(f"| the best for each | {best[0]:+.2f} | | {best[1]:+.2f} | | |")


def main() -> int:
    """Run the script."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True, metavar="DIR", help="folder of photographs")
    parser.add_argument("--count", type=positive_int, default=400, metavar="N", help="patches (default: 400)")
    parser.add_argument("--jpeg", type=percentage, default=75, metavar="Q", help="last JPEG (default: 75)")
    parser.add_argument("--model", default="default", metavar="M", help="name or folder")
    parser.add_argument("--seed", type=seed_number, default=0)
    return run_script(parser, run)


if __name__ == "__main__":
    sys.exit(main())
