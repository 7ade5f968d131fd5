"""Train a finished agent on, and write the mean of its weights over all rounds.

    python scripts/average_agent.py --data PHOTOS --start default --out DIR --rounds 550 --rate 3e-4

At a constant rate the weights wander about good ones, each round somewhat off in another direction; their
mean is better than any of them. The tools stay as they are.

Source: Izmailov et al., Averaging weights leads to wider optima and better generalization, UAI 2018.
"""

import argparse
import copy
import logging
import shlex
import sys
import time
from dataclasses import replace
from pathlib import Path

import torch
from tqdm import tqdm

from rlrestore.agent.learn import smallest_side
from rlrestore.agent.policy import AnyPolicy
from rlrestore.agent.qlearning import TriedActions
from rlrestore.agent.storage import load_agent, save_model
from rlrestore.agent.training import AgentSettings, AgentTraining
from rlrestore.cli.arguments import positive_float, positive_int, seed_number
from rlrestore.cli.outputs import prepare_folder
from rlrestore.cli.reporting import run_script
from rlrestore.devices import keep_freed_memory, resolve_device
from rlrestore.envs.sources import MixtureSource
from rlrestore.errors import UsageError
from rlrestore.imaging.mixture_files import read_mixture
from rlrestore.imaging.patches import PhotoBank
from rlrestore.model_folder import find_model, read_card
from rlrestore.toolbox.storage import load_toolbox
from rlrestore.toolbox.trainer import Moment

FITS = 64
"""Gradient steps in a round of 128 episodes: half of a new agent's."""
FILLING = 12
"""Rounds of episodes before the first gradient step, for the replay buffer is empty."""


def build_parser() -> argparse.ArgumentParser:
    """Return the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", required=True, type=Path, help="folder of photographs to train on")
    parser.add_argument("--start", default="default", metavar="M", help="a name or folder (default: default)")
    parser.add_argument("--out", required=True, type=Path, help="the model folder to write")
    parser.add_argument("--rounds", required=True, type=positive_int, help="to train, and to average over")
    parser.add_argument("--rate", type=positive_float, default=3e-4, help="learning rate (default: 3e-4)")
    parser.add_argument("--mixture", default="any", metavar="FILE", help="what to train on (default: any)")
    parser.add_argument("--seed", type=seed_number, default=0)
    parser.add_argument("--device", default="cpu")
    return parser


def train(training: AgentTraining, rounds: int) -> AnyPolicy:
    """Train for so many rounds at a constant rate; return the mean of the weights after each of them."""
    fill(training)
    mean = copy.deepcopy(training.policy).requires_grad_(False)
    for number in tqdm(range(1, rounds + 1), unit="round", disable=None):
        training.step(Moment(done=0.0))
        with torch.no_grad():
            for average, weight in zip(mean.parameters(), training.policy.parameters(), strict=True):
                average.lerp_(weight, 1 / number)
    return mean.eval()


def fill(training: AgentTraining) -> None:
    """Collect the episodes of the first fits."""
    settings, generator = training.settings, torch.Generator(training.device)
    generator.manual_seed(settings.seed)
    for _ in range(FILLING):
        new, _ = training.learning.collect(
            training.policy, training.tools, training.source, settings.episodes, 0.0, generator
        )
        buffer = training.buffer
        training.buffer = new if buffer is None else buffer.joined(new, settings.capacity)


def run(args: argparse.Namespace) -> None:
    """Train the agent and write the model.

    Raises:
        RlrestoreError: No such device, model or photographs, or `--out` is the model to begin with.
    """
    keep_freed_memory()
    device, mixture, folder = resolve_device(args.device), read_mixture(args.mixture), find_model(args.start)
    if folder.resolve() == args.out.resolve():
        raise UsageError(f"{args.out} is the model to begin with: choose another --out")
    toolbox, card = load_toolbox(folder, device), read_card(folder)
    policy = load_agent(folder, toolbox, device)
    prepare_folder(args.out)
    bank = PhotoBank.from_folder(args.data, "train", smallest_side=smallest_side(mixture), device=device)
    settings = AgentSettings(fits=FITS, learning_rate=args.rate, seed=args.seed)
    source, began = MixtureSource(bank, mixture.recipe), time.monotonic()
    training = AgentTraining(policy, toolbox, source, TriedActions(), settings, device, mixture.identity)
    mean = train(training, args.rounds)
    record = {
        "stage": "agent",
        "part": "agent-averaged",
        "command": shlex.join(["python", *sys.argv]),
        "mixture": mixture.identity,
        "data": f"{len(bank)} photographs (scales counted)",
        "minutes": round((time.monotonic() - began) / 60, 1),
        "steps": training.steps,
        "device": args.device,
        "seed": args.seed,
    }
    save_model(args.out, toolbox, mean, replace(card, training=(*card.training, record)))
    print(f"wrote {args.out}")


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    sys.exit(run_script(build_parser(), run))
