"""`rlrestore train-joint`: train tools and agent together."""

import argparse
import copy
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from rlrestore.cli import Subparsers
from rlrestore.cli.arguments import (
    add_mixture_argument,
    add_reward_argument,
    add_training_arguments,
    natural,
    on_ranks,
    photo_banks,
    positive_float,
    positive_int,
    prepare_training_folder,
    share,
    start_of,
)
from rlrestore.cli.reporting import say
from rlrestore.errors import UsageError

if TYPE_CHECKING:
    import torch

    from rlrestore.agent.joint import JointSettings
    from rlrestore.agent.policy import AnyPolicy
    from rlrestore.model_folder.card import ModelCard
    from rlrestore.toolbox.toolbox import Toolbox

DESCRIPTION = """\
Train the tools of a model along the chains that its agent chooses, the error at the end of a chain flowing
back through all its tools; the agent follows its changing tools, or stays as it is. A training that
diverges goes back to its last checkpoint and on at half the rate, three times at most. The folder `training`
in --out holds the checkpoint and the log.
"""


def add_parser(subparsers: Subparsers) -> None:
    """Add the subcommand to the command line."""
    parser = subparsers.add_parser(
        "train-joint", help="train tools and agent together, along whole chains", description=DESCRIPTION
    )
    add_training_arguments(parser, "gradient steps of the tools")
    parser.add_argument(
        "--model", required=True, metavar="M", help="the model to begin with, a name or folder"
    )
    add_mixture_argument(parser)
    add_reward_argument(parser, "; the tools are trained by its error, half of it plain if it is salient")
    parser.add_argument(
        "--planned",
        type=share,
        metavar="S",
        help="share of the chains that undo what was done to the patch, instead of the agent's choices "
        "(default: 0.25)",
    )
    parser.add_argument(
        "--exploration",
        type=share,
        metavar="S",
        help="share of the agent's choices that are exchanged for a random tool (default: 0.05)",
    )
    parser.add_argument(
        "--own",
        type=natural,
        metavar="N",
        help="patches of each tool's own range a step, restored by that tool alone, which keeps it what its "
        "name says (default: 0)",
    )
    parser.add_argument("--batch", type=positive_int, metavar="N", help="chains per step (default: 16)")
    parser.add_argument(
        "--piece",
        type=positive_int,
        metavar="N",
        help="chains in memory at once, which bounds it and changes no result (default: 64)",
    )
    parser.add_argument(
        "--rate",
        type=positive_float,
        metavar="R",
        help="learning rate of the tools (default: 5e-4)",
    )

    parser.add_argument(
        "--blend",
        type=share,
        default=1.0,
        metavar="S",
        help="write tools between those of --model (0) and those that training made of them (1, the default)",
    )
    parser.add_argument(
        "--keep-agent", action="store_true", help="leave the agent as it is, all time being for the tools"
    )


@on_ranks
def run(args: argparse.Namespace) -> int:
    """Train, in one process or in those that torchrun started, log how good it is, and write the model.

    Raises:
        ModelError: The model's tools and agent do not belong together, or are of another version.
        UsageError: An unknown device, no usable photograph, or nothing to resume.
        RlrestoreError: The training diverged too often, or `--out` cannot be written.
    """
    from rlrestore.agent.learn import measure_usage, smallest_side, train_joint
    from rlrestore.agent.storage import save_model
    from rlrestore.cli.training_records import lasting_card, training_record
    from rlrestore.devices import resolve_device
    from rlrestore.imaging.mixture_files import read_mixture
    from rlrestore.toolbox.ranks import rank
    from rlrestore.toolbox.trainer import Budget

    device, mixture = resolve_device(args.device), read_mixture(args.mixture)
    toolbox, policy, card = _read_model(args, device)
    begun = copy.deepcopy(toolbox)
    settings = _settings(args)
    prepare_training_folder(args)
    bank, validation = photo_banks(args, smallest_side(mixture))
    budget, start = Budget(args.minutes, args.steps), start_of(args)
    gain_db, trainer = train_joint(
        toolbox, policy, bank, validation, args.out, budget, settings, mixture, start
    )
    if rank() != 0:
        return 0
    record = training_record(
        "joint",
        args,
        len(bank),
        **trainer.spent(),
        mixture=mixture.identity,
        reward=args.reward,
        validation={"policy_db": round(gain_db, 3)},
        usage=measure_usage(toolbox, policy, validation, args.seed),
    )
    say(f"return {gain_db:.2f} dB")
    if args.blend < 1:
        begun.blend(toolbox, args.blend)
        toolbox = begun
    records = (*card.training, record)
    save_model(args.out, toolbox, policy, replace(lasting_card(card), training=records))
    say(f"wrote {args.out}")
    return 0


def _read_model(
    args: argparse.Namespace, device: "torch.device"
) -> tuple["Toolbox", "AnyPolicy", "ModelCard"]:
    """Return tools, agent and card of the model to begin with.

    Raises:
        ModelError: They do not belong together, or are of another version.
        UsageError: The training that is to be resumed is finished.
    """
    from rlrestore.agent.storage import load_agent
    from rlrestore.model_folder import find_model, read_card
    from rlrestore.toolbox.storage import load_toolbox

    model = find_model(args.model)
    toolbox, card = load_toolbox(model, device), read_card(model)
    policy = load_agent(model, toolbox, device)
    if args.resume and model.resolve() == args.out.resolve():
        _check_unfinished(args.out, toolbox)
    return toolbox, policy, card


def _settings(args: argparse.Namespace) -> "JointSettings":
    """Return how to train, where an option says it, and else as usual."""
    from rlrestore.agent.joint import JointSettings

    options = vars(args) | {"learning_rate": args.rate}
    names = ("batch", "piece", "learning_rate", "planned", "exploration", "own", "reward")
    given = {name: options[name] for name in names if options[name] is not None}
    if args.keep_agent:
        given["agent_every"] = 0
    return JointSettings(seed=args.seed, **given)


def _check_unfinished(out: Path, toolbox: "Toolbox") -> None:
    """Refuse to resume a training whose result has replaced the tools that it began with."""
    from rlrestore.toolbox.checkpoint import Checkpoint
    from rlrestore.toolbox.storage import checksum
    from rlrestore.toolbox.training import TRAINING_FOLDER

    checkpoint = Checkpoint(out / TRAINING_FOLDER / "joint")
    if checkpoint.exists() and checkpoint.progress().get("about", {}).get("begun") != checksum(toolbox):
        raise UsageError(
            f"cannot resume the training in {out}: it is finished, and the tools that it began with are "
            "replaced; --restart trains those that are there now, from the beginning of a new budget"
        )
