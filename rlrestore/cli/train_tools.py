"""`rlrestore train-tools`: train the tools on a folder of photographs."""

import argparse
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from rlrestore.cli import Subparsers
from rlrestore.cli.arguments import (
    add_training_arguments,
    on_ranks,
    photo_banks,
    positive_float,
    prepare_training_folder,
    start_of,
)
from rlrestore.cli.reporting import say
from rlrestore.errors import UsageError
from rlrestore.toolbox.specs import TOOL_NAMES, TOOLS, ToolSpec, tool_index

if TYPE_CHECKING:
    from rlrestore.model_folder.card import ModelCard
    from rlrestore.toolbox.report import ToolReport
    from rlrestore.toolbox.toolbox import Toolbox
    from rlrestore.toolbox.training import ToolSettings

DESCRIPTION = """\
Train the tools, one after another, each on its own distortion among the others. One file in sixteen is held
out by its name, and every tool is measured on those. A tool begins untrained, with its milder sibling of the
same depth, or, with --start, where another model's tool of its name stands.
"""


def add_parser(subparsers: Subparsers) -> None:
    """Add the subcommand to the command line."""
    parser = subparsers.add_parser(
        "train-tools", help="train the tools on a folder of photographs", description=DESCRIPTION
    )
    add_training_arguments(parser, "gradient steps of every tool")
    parser.add_argument(
        "--tools", default=",".join(TOOL_NAMES), metavar="NAME,...", help="which (default: all twelve)"
    )
    parser.add_argument("--start", metavar="M", help="begin with the tools of this model, a name or folder")
    parser.add_argument(
        "--mixture",
        metavar="FILE",
        help="what tools meet beside their own distortion: patches of this mixture, one that ships or a TOML "
        "file, in the range of each (default: the paper's moderate mixture, by the tool's own amount)",
    )
    parser.add_argument(
        "--family", default="hourglass", metavar="F", help="hourglass or paper (default: hourglass)"
    )
    parser.add_argument(
        "--rate",
        type=positive_float,
        metavar="R",
        help="learning rate at its highest (default: 3e-3)",
    )


@on_ranks
def run(args: argparse.Namespace) -> int:
    """Train, in one process or in those that torchrun started, log how good it is, and write the model.

    Raises:
        UsageError: An unknown tool or device, or no usable photograph.
        RlrestoreError: The training diverged, or `--out` cannot be written.
    """
    from rlrestore.cli.training_records import tool_totals, training_record
    from rlrestore.devices import precision_name, resolve_device, training_precision
    from rlrestore.imaging.mixture_files import read_mixture
    from rlrestore.imaging.pairs import context_side
    from rlrestore.imaging.recipes import smallest_side
    from rlrestore.toolbox.ranks import rank
    from rlrestore.toolbox.storage import save_toolbox
    from rlrestore.toolbox.trainer import Budget
    from rlrestore.toolbox.training import train_tools

    device = resolve_device(args.device)
    wanted = {tool_index(name.strip()) for name in args.tools.split(",")}
    specs = [TOOLS[index] for index in sorted(wanted)]  # a milder sibling comes first
    budget, settings = Budget(args.minutes, args.steps), _settings(args)
    mixture = None if args.mixture is None else read_mixture(args.mixture)
    side = 0 if mixture is None else smallest_side(mixture.recipe, settings.patch)
    bank, validation = photo_banks(args, max(side, context_side(settings.patch)))
    begin_with = None if args.start is None else _start_tools(args.start, specs)
    prepare_training_folder(args)
    card = _lasting_card(args, specs)
    toolbox, reports = train_tools(
        bank, validation, args.out, specs, budget, settings, start_of(args), begin_with, mixture
    )
    if rank() != 0:
        return 0
    record = training_record(
        "tools",
        args,
        len(bank),
        precision=precision_name(training_precision(device)),
        **({} if mixture is None else {"mixture": mixture.identity}),
        **tool_totals([report.record() for report in reports]),
    )
    save_toolbox(args.out, toolbox, replace(card, training=(*card.training, record)))
    _say_what_gains_too_little(reports)
    say(f"wrote {args.out}")
    return 0


def _settings(args: argparse.Namespace) -> "ToolSettings":
    from rlrestore.toolbox.training import ToolSettings

    rate = {} if args.rate is None else {"learning_rate": args.rate}
    return ToolSettings(args.family, seed=args.seed, **rate)


def _lasting_card(args: argparse.Namespace, specs: Sequence[ToolSpec]) -> "ModelCard":
    """Return what the card of the model that is begun with says that stays true once tools are trained."""
    from rlrestore.cli.training_records import lasting_card, without_superseded
    from rlrestore.model_folder import find_model, has_model, read_card
    from rlrestore.model_folder.card import ModelCard

    origin = args.out if args.start is None else find_model(args.start)
    card = lasting_card(read_card(origin)) if has_model(origin) else ModelCard()
    if origin.resolve() == args.out.resolve() and (args.resume or args.start is None):
        names = {spec.name for spec in specs}
        return replace(card, training=without_superseded(card.training, names, anew=not args.resume))
    return card


def _say_what_gains_too_little(reports: Sequence["ToolReport"]) -> None:
    """Say which tools no agent would take, and what to do about it."""
    from rlrestore.agent.policy import STOP_MARGIN_DB

    little = [report for report in reports if report.gain_db < STOP_MARGIN_DB]
    if little:
        names, steps = ", ".join(report.name for report in little), max(report.steps for report in little)
        say(
            f"note: {names}: a gain below {STOP_MARGIN_DB} dB after step {steps:,}, too little for an agent "
            f"to take the tool; --resume with --steps above {steps} trains on"
        )


def _start_tools(model: str, specs: Sequence[ToolSpec]) -> "Toolbox":
    """Return the tools of a model to begin with.

    Raises:
        ModelError: There is no such model.
        UsageError: It lacks one of the tools.
    """
    from rlrestore.model_folder import find_model
    from rlrestore.toolbox.storage import load_toolbox

    toolbox = load_toolbox(find_model(model))
    missing = [spec.name for spec in specs if spec.name not in toolbox.names]
    if missing:
        raise UsageError(f"no tool {missing[0]} in {model} to begin with: choose other --tools or --start")
    return toolbox
