"""Train a model that ships: bases, tools, agent, the tools along its chains, the agent again.

    python scripts/train_release.py --data PHOTOS --out DIR --minutes M --mixture any

Of each depth one base network is trained on mixtures; all tools of that depth begin with it, and planned
chains, which undo what was done to a patch, pull them apart. Then the agent learns to choose among them, the
tools are trained along its chains and planned ones, and it is trained once more on what they have become.

Stopped at any point, the same command goes on where it was, on another device if need be. With --start the
training begins with a finished model and runs the last two parts only. The card records every part, and, with
--test, the scores of the model.

To go on elsewhere, take along what --pack DIR writes at every end of a part and of the program, 20 MB at
most, and give it there as --out's folder `training`.
"""

import argparse
import json
import logging
import shlex
import sys
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from experiments.release_state import ReleaseState
from rlrestore.agent.joint import JointSettings
from rlrestore.agent.learn import (
    measure_usage,
    smallest_side,
    train_agent,
    train_joint,
    untrained,
)
from rlrestore.agent.policy import AnyPolicy, Policy
from rlrestore.agent.qlearning import TriedActions
from rlrestore.agent.storage import load_agent, save_model
from rlrestore.agent.training import AgentSettings
from rlrestore.cli.arguments import LARGEST_SEED, natural, positive_float, positive_int, seed_number
from rlrestore.cli.main import main as rlrestore
from rlrestore.cli.outputs import prepare_folder
from rlrestore.cli.reporting import run_script
from rlrestore.devices import keep_freed_memory, resolve_device
from rlrestore.errors import RlrestoreError, UsageError
from rlrestore.imaging.mixture_files import read_mixture
from rlrestore.imaging.patches import PhotoBank
from rlrestore.imaging.recipes import NamedRecipe
from rlrestore.model_folder import add_facts, find_model, read_card
from rlrestore.model_folder.card import ModelCard, Record
from rlrestore.toolbox.checkpoint import Checkpoint
from rlrestore.toolbox.networks import DEPTHS, check_trainable
from rlrestore.toolbox.specs import TOOLS, ToolSpec
from rlrestore.toolbox.storage import load_toolbox
from rlrestore.toolbox.toolbox import Toolbox, widened
from rlrestore.toolbox.trainer import Budget, Trainer
from rlrestore.toolbox.training import ToolSettings, ToolTraining

SHARES = {"base-3": 0.08, "base-8": 0.2, "planned": 0.28, "agent": 0.18, "joint": 0.14, "agent-again": 0.12}
"""The parts in their order, and their shares of the time."""
BASES = {f"base-{depth}": depth for depth in DEPTHS}
CHOOSING = ("agent", "agent-again")
PLANNED_RATE = 3e-3
"""Learning rate of tools that begin with one base network; later ones would forget at it what they can."""

log = logging.getLogger("train_release")


@dataclass(frozen=True)
class Release:
    """One training, on its way.

    Attributes:
        args: The command line.
        bank: Photographs to train on, on the device.
        validation: Photographs to measure on.
        minutes: Time for each part.
        mixture: What is trained on.
        trained: How many parts the model that it begins with has behind it.
    """

    args: argparse.Namespace
    bank: PhotoBank
    validation: PhotoBank
    minutes: dict[str, float]
    mixture: NamedRecipe
    trained: int

    def seed(self, part: str) -> int:
        """Return the seed of a part: no two train on the same patches, be it in a model that is continued."""
        return (int(self.args.seed) + zlib.crc32(part.encode()) + self.trained) % LARGEST_SEED

    def folder(self, part: str) -> Path:
        """Where a part keeps its checkpoint and its log."""
        return Path(self.args.out) / "training" / part

    def record(self, part: str, stage: str, trainer: Trainer, **more: Any) -> dict[str, Any]:
        """Return what the card says of a part."""
        return {
            "stage": stage,
            "part": part,
            "command": command(),
            "mixture": self.mixture.identity,
            "data": f"{len(self.bank)} photographs (scales counted)",
            **trainer.spent(),
            "device": self.args.device,
            "seed": self.seed(part),
            **more,
        }

    def train(self, part: str, toolbox: Toolbox, policy: AnyPolicy, state: ReleaseState) -> Record:
        """Train a part, in place; return what the card says of it."""
        if part in BASES:
            return self.base(part, toolbox)
        if part in CHOOSING:
            return self.choosing(part, toolbox, policy)
        return self.along_chains(part, toolbox, None if part == "planned" else policy, state.tools)

    def base(self, part: str, toolbox: Toolbox) -> Record:
        """Train a network of one depth on mixtures; all tools of that depth begin with it."""
        mixture, depth = self.mixture.levels, BASES[part]
        spec = ToolSpec(part, "mixture", mixture.lowest, mixture.highest, depth)
        widths = toolbox.widths.get(depth)
        settings = ToolSettings(self.args.family, self.args.batch, seed=self.seed(part), widths=widths)
        training = ToolTraining(spec, settings, self.bank)
        trainer = Trainer(training, Checkpoint(self.folder(part)), "either")
        trainer.run(Budget(minutes=self.minutes[part]))
        for other, network in zip(toolbox.specs, toolbox.networks, strict=True):
            if other.depth == depth:
                network.load_state_dict(training.average.state_dict())
        report = training.report(self.validation, trainer.seconds)
        log.info("%s", report.line())
        return self.record(part, "tools", trainer, networks=[report.record()])

    def along_chains(
        self, part: str, toolbox: Toolbox, policy: AnyPolicy | None, begun: int | None
    ) -> Record:
        """Train tools, and the agent if there is one, along chains, in place."""
        planned, own = (1.0, 0) if policy is None else (0.5, self.args.own)
        settings = JointSettings(
            batch=self.args.batch,
            learning_rate=PLANNED_RATE if policy is None else JointSettings.learning_rate,
            planned=planned,
            own=own,
            agent_every=0,
            seed=self.seed(part),
        )
        gain_db, trainer = train_joint(
            toolbox,
            policy,
            self.bank,
            self.validation,
            self.folder(part),
            Budget(minutes=self.minutes[part]),
            settings,
            self.mixture,
            "either",
            begun,
        )
        log.info("%s: %+.2f dB", part, gain_db)
        more: dict[str, Any] = {"planned": planned, "own": own, "gain_db": round(gain_db, 3)}
        if policy is None:
            return self.record(part, "tools", trainer, **more)
        usage = measure_usage(toolbox, policy, self.validation, self.seed(part))
        return self.record(part, "joint", trainer, **more, usage=usage)

    def choosing(self, part: str, toolbox: Toolbox, policy: AnyPolicy) -> Record:
        """Train the agent on the tools as they are, in place."""
        report, trainer = train_agent(
            policy,
            TriedActions(),
            self.bank,
            self.validation,
            toolbox,
            self.folder(part),
            Budget(minutes=self.minutes[part]),
            AgentSettings(seed=self.seed(part)),
            self.mixture,
            "either",
        )
        log.info("%s: %s", part, report.line())
        usage = measure_usage(toolbox, policy, self.validation, self.seed(part))
        return self.record(part, "agent", trainer, validation=report.record(), usage=usage)


def command() -> str:
    """Return the command line as a person would give it."""
    return shlex.join(["python", "scripts/train_release.py", *sys.argv[1:]])


def parts_of(start: bool, minutes: float) -> dict[str, float]:
    """Return the minutes of every part that is trained."""
    shares = {name: share for name, share in SHARES.items() if not start or name in ("joint", "agent-again")}
    return {name: minutes * share / sum(shares.values()) for name, share in shares.items()}


def summary(scores: dict[str, Any]) -> dict[str, Any]:
    """Return what a card says of an evaluation: how it was made, and the means of each set."""
    made = {key: scores[key] for key in ("data", "patches", "seed", "grid")}
    sets = {
        name: {key: report[key] for key in ("psnr_db", "ssim", "worse_share")}
        for name, report in scores["sets"].items()
    }
    return {**made, "sets": sets}


def add_scores(folder: Path, photographs: Path, device: str) -> None:
    """Measure a model on photographs that it was not trained on, and let its card say what came of it."""
    scores = folder / "training" / "scores.json"
    options = ["--data", str(photographs), "--model", str(folder), "--json", str(scores), "--device", device]
    if rlrestore(["evaluate", *options]):
        raise SystemExit("the model is written, but it could not be measured")
    add_facts(folder, {"scores": summary(json.loads(scores.read_text("utf-8")))})


def build_parser() -> argparse.ArgumentParser:
    """Return the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", required=True, type=Path, help="folder of photographs to train on")
    parser.add_argument("--out", required=True, type=Path, help="the model folder to write")
    parser.add_argument("--minutes", required=True, type=positive_float, help="time for all of it")
    parser.add_argument(
        "--own", type=natural, default=4, help="patches of each tool's own range a step (default: 4)"
    )
    parser.add_argument(
        "--mixture", default="any", metavar="FILE", help="one that ships, or a TOML file (default: any)"
    )
    parser.add_argument(
        "--family", default="hourglass", metavar="F", help="hourglass or paper (default: hourglass)"
    )
    parser.add_argument(
        "--widths",
        type=positive_int,
        nargs=2,
        metavar=("HALF", "QUARTER"),
        help="channels of the 8-layer tools at half and at a quarter of the resolution; those of --start "
        "grow and restore as before, until they are trained (default: those of --start, or 32 104)",
    )
    parser.add_argument("--start", metavar="M", help="begin with this model, a name or folder")
    parser.add_argument("--test", type=Path, help="photographs to measure the model on, at the very end")
    parser.add_argument("--pack", type=Path, metavar="DIR", help="write what must travel to go on elsewhere")
    parser.add_argument("--name", default="", help="the model's name (default: its folder's)")
    parser.add_argument("--data-name", default="", help="what the card says the photographs are")
    parser.add_argument(
        "--batch", type=positive_int, default=16, help="chains per step, and a base's patches (default: 16)"
    )
    parser.add_argument("--seed", type=seed_number, default=0)
    parser.add_argument("--device", default="cpu")
    return parser


def begin(
    args: argparse.Namespace, start: Path | None, device: torch.device
) -> tuple[ReleaseState, Toolbox, AnyPolicy]:
    """Return how far the training has come, and tools and agent as they are then."""
    if start is None:
        toolbox = Toolbox(TOOLS, args.family)
        policy: AnyPolicy = untrained(Policy, toolbox.specs, args.seed).to(device)
    else:
        toolbox = load_toolbox(start, device)
        policy = load_agent(start, toolbox, device)
    if args.widths is not None:
        toolbox = widened(toolbox, {max(DEPTHS): args.widths}, args.seed)
    toolbox = toolbox.to(device).eval().requires_grad_(False)
    state = ReleaseState.read(Path(args.out) / "training", start is not None)
    state = state.with_piece({"command": command(), "device": args.device})
    return state, *state.load(toolbox, policy, device)


def train_parts(
    release: Release, state: ReleaseState, toolbox: Toolbox, policy: AnyPolicy
) -> tuple[ReleaseState, Toolbox, AnyPolicy]:
    """Train the parts that are not finished; after each, however it ends, write what must travel."""

    def pack() -> None:
        if release.args.pack is not None:
            state.pack(release.args.pack)
            log.info("wrote %s", release.args.pack)

    try:
        for part in release.minutes:
            if part not in state.parts:
                left = sum(minutes for name, minutes in release.minutes.items() if name not in state.parts)
                log.info("%s: %.1f of %.1f minutes to go", part, release.minutes[part], left)
                record = release.train(part, toolbox, policy, state)
                state, toolbox, policy = state.after(part, [record], toolbox, policy)
                pack()
    finally:
        try:
            pack()
        except RlrestoreError as error:  # in the way of neither the model nor what ended the training
            log.error("%s", error)
    return state, toolbox, policy


def run(args: argparse.Namespace) -> None:
    """Run all parts, each from where it was stopped, and write the model.

    Raises:
        RlrestoreError: No such device, model or photographs, `--out` is the model to begin with, a checkpoint
            of another training, or one that diverged.
    """
    keep_freed_memory()
    device, mixture = resolve_device(args.device), read_mixture(args.mixture)
    check_trainable(args.family)
    if args.test is not None:
        from rlrestore.evaluation.testsets import read_photos  # needs more than a training does

        read_photos(args.test)
    start = None if args.start is None else find_model(args.start)
    if start is not None and start.resolve() == args.out.resolve():
        raise UsageError(f"{args.out} is the model to begin with: choose another --out")
    before = ModelCard() if start is None else read_card(start)
    prepare_folder(args.out)
    bank, validation = (
        PhotoBank.from_folder(args.data, part, smallest_side=smallest_side(mixture), device=device)
        for part in ("train", "validation")
    )
    minutes = parts_of(start is not None, args.minutes)
    release = Release(args, bank, validation, minutes, mixture, len(before.training))
    begun = begin(args, start, device)
    if args.pack is not None:
        begun[0].check_pack(args.pack)
    state, toolbox, policy = train_parts(release, *begun)
    records, pieces = (*before.training, *state.records), (*before.pieces, *state.pieces)
    name, data = args.name or args.out.name, args.data_name or before.facts.get("data", "")
    card = ModelCard(name, training=records, pieces=pieces, facts={"data": data})
    save_model(args.out, toolbox, policy, card)
    log.info("wrote %s", args.out)
    if args.test is not None:
        add_scores(args.out, args.test, args.device)


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", datefmt="%H:%M:%S")
    sys.exit(run_script(build_parser(), run))
