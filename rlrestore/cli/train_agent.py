"""`rlrestore train-agent`: train the agent on a toolbox."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rlrestore.cli import Subparsers
from rlrestore.cli.arguments import (
    add_mixture_argument,
    add_renamed_argument,
    add_reward_argument,
    add_training_arguments,
    on_ranks,
    photo_banks,
    positive_float,
    prepare_training_folder,
    share,
    start_of,
)
from rlrestore.cli.reporting import say
from rlrestore.errors import UsageError

if TYPE_CHECKING:
    from rlrestore.agent.measure import PolicyReport
    from rlrestore.agent.policy import AnyPolicy
    from rlrestore.agent.training import Learning
    from rlrestore.imaging.patches import PhotoBank
    from rlrestore.imaging.recipes import NamedRecipe
    from rlrestore.model_folder.card import Record
    from rlrestore.toolbox.toolbox import Toolbox

DESCRIPTION = """\
Train the agent on a toolbox that stays as it is, and write the whole model. The folder `training` in --out
holds the checkpoint and, if the package tensorboard is installed, a log of every metric. A resumed training
has its weights, its optimiser and its episodes back.
"""


def add_parser(subparsers: Subparsers) -> None:
    """Add the subcommand to the command line."""
    parser = subparsers.add_parser(
        "train-agent", help="train the agent on a toolbox", description=DESCRIPTION
    )
    add_training_arguments(parser, "steps of the environment")
    parser.add_argument(
        "--toolbox", required=True, metavar="M", help="a model with trained tools, a name or folder"
    )
    add_renamed_argument(parser, "--tools", "--toolbox")
    parser.add_argument(
        "--start", metavar="M", help="begin with the agent of this model, a name or folder; not with ppo"
    )
    parser.add_argument(
        "--algo",
        choices=("q", "dqn", "ppo"),
        default="q",
        help="q: from several actions of every visited state (default); dqn: from those taken, as in the "
        "paper; ppo: recurrent PPO, which writes no checkpoints",
    )
    parser.add_argument(
        "--network",
        choices=("spectral", "paper"),
        default="spectral",
        help="spectral: sees the patch's spectrum (default); paper: the authors' convolutions; not with ppo",
    )
    add_mixture_argument(parser)
    add_reward_argument(parser)
    parser.add_argument(
        "--discount",
        type=share,
        metavar="G",
        help="how much later gains count, 0 to 1 (default: 0 for q, whose values are gains of the step, "
        "0.99 for dqn); not with ppo",
    )
    parser.add_argument(
        "--rate",
        type=positive_float,
        metavar="R",
        help="learning rate at the start (default: 1e-3); not with ppo",
    )


@on_ranks
def run(args: argparse.Namespace) -> int:
    """Train, in one process or in those that torchrun started, log how good it is, and write the model.

    Raises:
        UsageError: An unknown device, a damaged toolbox, or no usable photograph.
        RlrestoreError: The training diverged, or `--out` cannot be written.
    """
    _check(args)
    from rlrestore.agent.learn import smallest_side
    from rlrestore.agent.storage import save_model
    from rlrestore.cli.training_records import training_record
    from rlrestore.devices import resolve_device
    from rlrestore.imaging.mixture_files import read_mixture
    from rlrestore.model_folder import find_model
    from rlrestore.model_folder.card import ModelCard
    from rlrestore.toolbox.ranks import rank
    from rlrestore.toolbox.storage import load_toolbox

    device, mixture = resolve_device(args.device), read_mixture(args.mixture)
    tools = find_model(args.toolbox)
    toolbox = load_toolbox(tools, device)
    policy = _policy(args, toolbox)
    earlier = _earlier_records(args, tools)
    prepare_training_folder(args)
    bank, validation = photo_banks(args, smallest_side(mixture))
    policy, report, more = _train(args, policy, toolbox, (bank, validation), mixture)
    if rank() != 0:
        return 0
    record = training_record(
        "agent",
        args,
        len(bank),
        **more,
        mixture=mixture.identity,
        reward=args.reward,
        validation=report.record(),
    )
    say(report.line())
    card = ModelCard(training=(*earlier, record), values_in_db=args.algo != "ppo")
    save_model(args.out, toolbox, policy, card)
    say(f"wrote {args.out}")
    return 0


def _earlier_records(args: argparse.Namespace, tools: Path) -> tuple["Record", ...]:
    """Return the trainings of the tools, and of the agent that is begun with."""
    from rlrestore.cli.training_records import agent_records, tool_records
    from rlrestore.model_folder import find_model, read_card

    earlier = tool_records(read_card(tools))
    if args.start is None:
        return earlier
    begun = find_model(args.start)
    agents = agent_records(read_card(begun))
    goes_on = args.resume and begun.resolve() == args.out.resolve()  # the new record covers the last one
    return earlier + (agents[:-1] if goes_on else agents)


def _train(
    args: argparse.Namespace,
    policy: "AnyPolicy",
    toolbox: "Toolbox",
    banks: tuple["PhotoBank", "PhotoBank"],
    mixture: "NamedRecipe",
) -> tuple["AnyPolicy", "PolicyReport", dict[str, Any]]:
    """Train by the algorithm that was asked for; return the agent, how good it is, and what a card says."""
    from rlrestore.toolbox.trainer import Budget

    budget = Budget(args.minutes, args.steps)
    if args.algo == "ppo":
        from rlrestore.agent.policy import Policy
        from rlrestore.agent.ppo import PpoSettings, train_ppo

        actor = Policy(toolbox.stop).to(toolbox.device)
        report, spent = train_ppo(
            actor, *banks, toolbox, args.out, budget, PpoSettings(seed=args.seed, reward=args.reward)
        )
        return actor, report, spent
    from rlrestore.agent.learn import train_agent
    from rlrestore.agent.training import AgentSettings

    rate = {} if args.rate is None else {"learning_rate": args.rate}
    settings = AgentSettings(seed=args.seed, **rate)
    learning, start = _learning(args), start_of(args)
    report, trainer = train_agent(
        policy, learning, *banks, toolbox, args.out, budget, settings, mixture, start
    )
    return policy, report, trainer.spent()


def _check(args: argparse.Namespace) -> None:
    from rlrestore.toolbox.ranks import rank_count

    if args.algo == "ppo" and rank_count() > 1:
        raise UsageError("--algo ppo trains in one process: leave torchrun out, or give --algo q")
    given = {
        "--resume": args.resume,
        "--restart": args.restart,
        "--start": args.start,
        "--discount": args.discount is not None,
        "--network paper": args.network == "paper",
        f"--mixture {args.mixture}": args.mixture != "paper",
        "--rate": args.rate is not None,
    }
    for option, is_given in given.items():
        if args.algo == "ppo" and is_given:
            raise UsageError(f"{option} does not go with --algo ppo: expected q or dqn")


def _policy(args: argparse.Namespace, toolbox: "Toolbox") -> "AnyPolicy":
    """Return the agent to train."""
    from rlrestore.agent.learn import untrained
    from rlrestore.agent.policy import POLICIES
    from rlrestore.agent.storage import load_agent
    from rlrestore.devices import resolve_device
    from rlrestore.model_folder import find_model

    if args.start is None:
        return untrained(POLICIES[args.network], toolbox.specs, args.seed)
    policy = load_agent(find_model(args.start), toolbox, resolve_device(args.device))
    if policy.family != args.network:
        raise UsageError(
            f"expected an agent of family {args.network} to begin with, got {policy.family}; "
            f"give --network {policy.family}"
        )
    return policy


def _learning(args: argparse.Namespace) -> "Learning":
    from rlrestore.agent.dqn import TakenActions
    from rlrestore.agent.qlearning import TriedActions

    algo = TakenActions if args.algo == "dqn" else TriedActions
    discount = {} if args.discount is None else {"discount": args.discount}
    return algo(reward=args.reward, **discount)
