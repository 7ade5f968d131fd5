"""`rlrestore train-agent`: train the agent on a toolbox."""

import argparse
from pathlib import Path

from rlrestore.cli import Subparsers
from rlrestore.cli.arguments import add_training_arguments, share, tool_records, training_record
from rlrestore.cli.reporting import say, show_log
from rlrestore.errors import UsageError

DESCRIPTION = """\
Train the agent on a toolbox that stays as it is, and write the whole model. A resumed training has its
weights and optimiser back, and collects its episodes anew.
"""


def add_parser(subparsers: Subparsers) -> None:
    """Add the subcommand to the command line."""
    parser = subparsers.add_parser(
        "train-agent", help="train the agent on a toolbox", description=DESCRIPTION
    )
    add_training_arguments(parser, "steps of the environment")
    parser.add_argument(
        "--tools", type=Path, required=True, metavar="DIR", help="a model folder with trained tools"
    )
    parser.add_argument(
        "--start", metavar="M", help="begin with the agent of this model, a name or folder; with q only"
    )
    parser.add_argument(
        "--algo",
        choices=("q", "ppo"),
        default="q",
        help="q: from all actions of every visited state (default); ppo: recurrent PPO",
    )
    parser.add_argument(
        "--discount",
        type=share,
        default=0.0,
        metavar="G",
        help="how much later gains count, 0 to 1; with q only (default: 0, the values are gains of the step)",
    )


def run(args: argparse.Namespace) -> int:
    """Train, log how good the agent is, and write the model.

    Raises:
        UsageError: An unknown device, a damaged toolbox, or no usable photograph.
        RlrestoreError: The training diverged, or `--out` cannot be written.
    """
    if args.algo == "ppo" and (args.resume or args.start):
        given = "--resume" if args.resume else "--start"
        raise UsageError(f"{given} goes with --algo q: a PPO training starts anew")
    from rlrestore.agent.policy import Policy
    from rlrestore.agent.storage import load_agent, save_model
    from rlrestore.cli.outputs import prepare_folder
    from rlrestore.envs.sources import PATCH
    from rlrestore.imaging.pairs import context_side
    from rlrestore.imaging.patches import PhotoBank
    from rlrestore.restore import find_model
    from rlrestore.toolbox.devices import resolve_device
    from rlrestore.toolbox.storage import load_toolbox, read_card

    show_log()
    device = resolve_device(args.device)
    toolbox, old_card = load_toolbox(args.tools, device), read_card(args.tools)
    start = None if args.start is None else load_agent(find_model(args.start), toolbox, device)
    if start is not None and not isinstance(start, Policy):
        raise UsageError(f"expected an agent of family {Policy.family} to begin with, got {start.family}")
    prepare_folder(args.out)
    side = context_side(PATCH)
    bank = PhotoBank.from_folder(args.data, "train", smallest_side=side, device=device)
    validation = PhotoBank.from_folder(args.data, "validation", smallest_side=side, device=device)
    values: dict[str, str] = {}
    if args.algo == "ppo":
        from rlrestore.agent.ppo import VALUES, PpoSettings, train_ppo

        policy, report = train_ppo(
            bank, validation, toolbox, PpoSettings(args.minutes, args.steps, seed=args.seed)
        )
        values = {"values": VALUES}
    else:
        from rlrestore.agent.training import AgentSettings, train_q

        settings = AgentSettings(args.minutes, args.steps, discount=args.discount, seed=args.seed)
        policy, report = train_q(bank, validation, toolbox, args.out, settings, args.resume, start)
    record = training_record("agent", args, len(bank), validation=report.record())
    save_model(args.out, toolbox, policy, {**values, "training": [*tool_records(old_card), record]})
    say(f"wrote {args.out}")
    return 0
