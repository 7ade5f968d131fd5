"""Train a finished model's tools on, so that one view of an image gives what the mean of eight views does.

    python scripts/learn_from_views.py --data PHOTOS --start default --out DIR --steps 1200

Turned and mirrored, an image is restored a little differently; the mean over all eight views is better than
any (`rlrestore restore --views 8`), and tells a tool more than the clean image does, from which a result
differs by far more that no tool can know. A tool learns from it on the patches that it meets: in the agent's
chains, in planned ones, and on its own range. The agent stays as it is; average_agent.py lets it follow.

Source: Hinton, Vinyals, Dean, Distilling the knowledge in a neural network, arXiv 1503.02531; that the
teacher is the tool itself on other views is ours.
"""

import argparse
import copy
import logging
import shlex
import sys
import time
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor
from tqdm import tqdm

from rlrestore.agent.learn import smallest_side
from rlrestore.agent.policy import AnyPolicy
from rlrestore.agent.rollout import greedy
from rlrestore.agent.storage import load_agent, save_model
from rlrestore.agent.teacher import prescribed, teacher_chains
from rlrestore.cli.arguments import positive_float, positive_int, seed_number, share
from rlrestore.cli.outputs import prepare_folder
from rlrestore.cli.reporting import run_script
from rlrestore.devices import keep_freed_memory, resolve_device
from rlrestore.errors import UsageError
from rlrestore.imaging import PATCH
from rlrestore.imaging.mixture_files import read_mixture
from rlrestore.imaging.pairs import degraded_pairs
from rlrestore.imaging.patches import PhotoBank
from rlrestore.imaging.recipes import AnyRecipe, draw_pairs
from rlrestore.model_folder import find_model, read_card
from rlrestore.runtime.views import VIEWS
from rlrestore.toolbox.distortions import training_distortion
from rlrestore.toolbox.functional import FunctionalTools
from rlrestore.toolbox.muon import Muon
from rlrestore.toolbox.networks import channels_last
from rlrestore.toolbox.optimisation import ERROR_FLOOR, move_weights, rate_factor
from rlrestore.toolbox.specs import NO_ACTION
from rlrestore.toolbox.storage import load_toolbox
from rlrestore.toolbox.toolbox import Toolbox, Tools

PLANNED = 0.2
"""Share of the chains that undo what was done, instead of the agent's."""
EXPLORED = 0.1
"""Share of the actions that are exchanged for a random tool."""
OWN = 3
"""Patches of each tool's own range a step."""
PIECE = 96
"""Patches that have gradients at a time."""
DB = 4.34
"""A mean squared error that is larger by a small share loses so many times that share, in dB."""


@dataclass(frozen=True)
class Met:
    """What tools meet: M patches.

    Attributes:
        images: `(M, 3, P, P)`.
        tools: `(M,)` the tool that works on each.
        clean: `(M, 3, P, P)`.
    """

    images: Tensor
    tools: Tensor
    clean: Tensor


def build_parser() -> argparse.ArgumentParser:
    """Return the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", required=True, type=Path, help="folder of photographs to train on")
    parser.add_argument("--start", default="default", metavar="M", help="a name or folder (default: default)")
    parser.add_argument(
        "--teacher", metavar="M", help="whose tools' views are learned from (default: those of --start)"
    )
    parser.add_argument("--out", required=True, type=Path, help="the model folder to write")
    parser.add_argument("--steps", required=True, type=positive_int, help="gradient steps")
    parser.add_argument("--batch", type=positive_int, default=64, help="chains a step (default: 64)")
    parser.add_argument("--rate", type=positive_float, default=1.5e-4, help="learning rate (default: 1.5e-4)")
    parser.add_argument(
        "--clean", type=share, default=0.25, metavar="S", help="what the clean image counts (default: 0.25)"
    )
    parser.add_argument("--mixture", default="any", metavar="FILE", help="what to train on (default: any)")
    parser.add_argument("--seed", type=seed_number, default=0)
    parser.add_argument("--device", default="cpu")
    return parser


def seen(images: Tensor, exchanged: bool, upside_down: bool, mirrored: bool) -> Tensor:
    """Return a view of images `(B, 3, P, P)`, as `rlrestore.runtime.views.turned`."""
    turned = images.mT if exchanged else images
    return turned.flip([axis for axis, flips in ((-2, upside_down), (-1, mirrored)) if flips])


def seen_back(view: Tensor, exchanged: bool, upside_down: bool, mirrored: bool) -> Tensor:
    """Return the images that `seen` made a view of."""
    images = seen(view, False, upside_down, mirrored)
    return images.mT if exchanged else images


@torch.no_grad()
def mean_of_views(tools: Tools, actions: Tensor, images: Tensor) -> Tensor:
    """Return the mean of what each image's tool makes of its eight views, `(B, 3, P, P)` float32."""
    views = [
        seen_back(tools.apply_each(actions, seen(images, *view).contiguous()).float(), *view)
        for view in VIEWS
    ]
    return torch.stack(views).mean(dim=0)


@torch.no_grad()
def meet(
    tools: FunctionalTools,
    policy: AnyPolicy,
    bank: PhotoBank,
    recipe: AnyRecipe,
    batch: int,
    generator: torch.Generator,
) -> Met:
    """Draw what the tools meet along so many chains, and on their own ranges."""
    specs, stop, device = tools.toolbox.specs, tools.stop, bank.device
    drawn = draw_pairs(bank, recipe, batch, PATCH, generator)
    chains = teacher_chains(specs, drawn.amounts, policy.max_steps)
    planned = torch.rand(batch, 1, generator=generator, device=device) < PLANNED
    behaviour = prescribed(torch.where(planned, chains, NO_ACTION), greedy(policy))
    images, last, parts = drawn.degraded, torch.full((batch,), NO_ACTION, device=device), []
    for _ in range(policy.max_steps):
        explored = torch.rand(batch, generator=generator, device=device) < EXPLORED
        random = torch.randint(stop, (batch,), generator=generator, device=device)
        chosen = torch.where(explored, random, behaviour(images, last))
        last = torch.where(last == stop, last, chosen)
        working = last != stop
        parts.append((images[working], last[working], drawn.target[working]))
        images = tools.apply_each(last, images).float()
    own = torch.arange(stop, device=device).repeat_interleave(OWN)
    amounts = training_distortion([specs[index] for index in own.tolist()], generator, mixed_share=0.0)
    degraded, clean = degraded_pairs(bank, amounts, PATCH, generator)
    return Met(*(torch.cat(column) for column in zip(*parts, (degraded, own, clean), strict=True)))


def learn(
    toolbox: Toolbox,
    teaching: Toolbox,
    policy: AnyPolicy,
    bank: PhotoBank,
    recipe: AnyRecipe,
    args: argparse.Namespace,
) -> Toolbox:
    """Return tools that have learned from the views of a teacher's; the given ones stay as they are."""
    trained = copy.deepcopy(toolbox).requires_grad_(True)
    channels_last(trained)
    teacher, pupils = FunctionalTools.for_training(teaching), FunctionalTools.for_training(trained)
    optimizer = Muon(trained.parameters(), args.rate, pupils.precision)
    bar = tqdm(range(args.steps), unit="step", disable=None)
    for step in bar:
        generator = torch.Generator(bank.device).manual_seed((args.seed << 20) + step)
        met = meet(teacher, policy, bank, recipe, args.batch, generator)
        wanted = mean_of_views(teacher, met.tools, met.images)
        worth = DB / ((wanted - met.clean).square().mean(dim=(1, 2, 3)) + ERROR_FLOOR)
        pupils.zero_grad()
        apart_db = []
        for piece in torch.arange(len(met.tools), device=bank.device).split(PIECE):
            restored = pupils.apply_each(met.tools[piece], met.images[piece]).float()
            apart = worth[piece] * (restored - wanted[piece]).square().mean(dim=(1, 2, 3))
            wrong = worth[piece] * (restored - met.clean[piece]).square().mean(dim=(1, 2, 3))
            (apart + args.clean * wrong).sum().backward()
            apart_db.append(apart.detach())
        pupils.scale_gradients(1 / torch.bincount(met.tools, minlength=pupils.stop).clamp(min=1))
        move_weights(pupils, optimizer, args.rate * rate_factor(step / args.steps))
        bar.set_postfix_str(f"{torch.cat(apart_db).mean():.3f} dB below the mean of eight views")
    return trained.requires_grad_(False)


def run(args: argparse.Namespace) -> None:
    """Train the tools and write the model.

    Raises:
        RlrestoreError: No such device, model or photographs, `--out` is the model to begin with, or the
            teacher has other tools.
    """
    keep_freed_memory()
    device, mixture, folder = resolve_device(args.device), read_mixture(args.mixture), find_model(args.start)
    if folder.resolve() == args.out.resolve():
        raise UsageError(f"{args.out} is the model to begin with: choose another --out")
    toolbox, card = load_toolbox(folder, device), read_card(folder)
    policy = load_agent(folder, toolbox, device)
    teaching = load_toolbox(find_model(args.teacher or args.start), device)
    if teaching.names != toolbox.names:
        raise UsageError(f"expected a teacher with the same tools, got {', '.join(teaching.names)}")
    prepare_folder(args.out)
    bank = PhotoBank.from_folder(args.data, "train", smallest_side=smallest_side(mixture), device=device)
    began = time.monotonic()
    trained = learn(toolbox, teaching, policy, bank, mixture.recipe, args)
    record = {
        "stage": "joint",
        "part": "views",
        "command": shlex.join(["python", *sys.argv]),
        "mixture": mixture.identity,
        "data": f"{len(bank)} photographs (scales counted)",
        "minutes": round((time.monotonic() - began) / 60, 1),
        "steps": args.steps,
        "device": args.device,
        "seed": args.seed,
    }
    save_model(args.out, trained, policy, replace(card, training=(*card.training, record)))
    print(f"wrote {args.out}")


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    sys.exit(run_script(build_parser(), run))
