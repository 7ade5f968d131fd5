"""Arguments that several subcommands share."""

import argparse
from collections.abc import Callable, Sequence
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rlrestore.cli.reporting import show_log
from rlrestore.errors import UsageError

if TYPE_CHECKING:
    from rlrestore.imaging.patches import PhotoBank
    from rlrestore.toolbox.trainer import Start

JPEG_SUFFIXES = (".jpg", ".jpeg")


def positive_float(text: str) -> float:
    """Read a number above zero."""
    try:
        value = float(text)
    except ValueError:
        value = float("nan")
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"expected a number above 0, got {text!r}")
    return value


def share(text: str) -> float:
    """Read a number from 0 to 1."""
    try:
        value = float(text)
    except ValueError:
        value = float("nan")
    if not 0 <= value <= 1:
        raise argparse.ArgumentTypeError(f"expected a number from 0 to 1, got {text!r}")
    return value


MOST_DIGITS = 18
"""Of a whole number; longer ones count nothing that there is."""


def _whole(text: str, low: int, high: int | None = None) -> int:
    """Read a whole number from `low`, to `high` if there is one."""
    short = text.isdecimal() and len(text) <= MOST_DIGITS
    if not short or int(text) < low or (high is not None and int(text) > high):
        range_ = f"from {low} to {high}" if high is not None else "above 0" if low == 1 else f"from {low}"
        raise argparse.ArgumentTypeError(f"expected a whole number {range_}, got {text[:20]!r}")
    return int(text)


def positive_int(text: str) -> int:
    """Read a whole number above zero."""
    return _whole(text, 1)


MOST_THREADS = 1024
"""Beyond it OpenMP may end the process while it starts them."""


def thread_count(text: str) -> int:
    """Read a number of cores to compute on."""
    return _whole(text, 1, MOST_THREADS)


def names(text: str) -> tuple[str, ...]:
    """Read names with commas between them."""
    found = tuple(name.strip() for name in text.split(","))
    if not all(found):
        raise argparse.ArgumentTypeError(f"expected names with commas between them, got {text!r}")
    return found


def natural(text: str) -> int:
    """Read a whole number from zero."""
    return _whole(text, 0)


def percentage(text: str) -> int:
    """Read a whole number from 1 to 100."""
    return _whole(text, 1, 100)


LARGEST_SEED = 2**32 - 1
"""What numpy's global seed, which stable-baselines3 sets, can hold."""


def seed_number(text: str) -> int:
    """Read the seed of a training."""
    return _whole(text, 0, LARGEST_SEED)


def add_training_arguments(parser: argparse.ArgumentParser, steps_help: str) -> None:
    """Add what every training asks for: data, output, its budget, and how to go on."""
    parser.add_argument(
        "--data", type=Path, required=True, metavar="DIR", help="photographs, searched recursively"
    )
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="the model folder to write")
    budget = parser.add_mutually_exclusive_group(required=True)
    budget.add_argument("--minutes", type=positive_float, metavar="M", help="wall-clock time of the training")
    budget.add_argument("--steps", type=positive_int, metavar="N", help=steps_help)
    start = parser.add_mutually_exclusive_group()
    start.add_argument("--resume", action="store_true", help="go on from the checkpoint in --out")
    start.add_argument("--restart", action="store_true", help="delete the checkpoint in --out, start anew")
    parser.add_argument("--seed", type=seed_number, default=0, metavar="N", help="default: 0")
    parser.add_argument("--device", default="cpu", metavar="D", help="cpu, cuda, cuda:1, mps (default: cpu)")


def on_ranks(train: Callable[[argparse.Namespace], int]) -> Callable[[argparse.Namespace], int]:
    """Let a training run in this process, or as one of those that torchrun started, each on its own GPU.

    Args:
        train: Takes the command line, in which `device` is the rank's own. Among what it raises is a
            UsageError where there are fewer GPUs than processes, or all are sent to one.
    """

    @wraps(train)
    def run(args: argparse.Namespace) -> int:
        from rlrestore.devices import keep_freed_memory
        from rlrestore.toolbox.ranks import joined_ranks, rank

        keep_freed_memory()
        with joined_ranks(args.device) as device:
            if rank() == 0:
                show_log()
            return train(argparse.Namespace(**{**vars(args), "device": device}))

    return run


def photo_banks(args: argparse.Namespace, smallest_side: int) -> tuple["PhotoBank", "PhotoBank"]:
    """Read the photographs of `--data`, to train on and to measure on, to `--device`.

    Args:
        args: The command line.
        smallest_side: Of photographs that are used, in pixels.

    Raises:
        UsageError: None can be used.
    """
    from rlrestore.devices import resolve_device
    from rlrestore.imaging.patches import PhotoBank

    device = resolve_device(args.device)
    train = PhotoBank.from_folder(args.data, "train", smallest_side=smallest_side, device=device)
    validation = PhotoBank.from_folder(args.data, "validation", smallest_side=smallest_side, device=device)
    return train, validation


def start_of(args: argparse.Namespace) -> "Start":
    """Return whether a training may, must or must not find a checkpoint, as the options say."""
    if args.resume:
        return "resume"
    return "restart" if args.restart else "new"


def prepare_training_folder(args: argparse.Namespace) -> None:
    """Make the folder of a training, but for one that is to be resumed and is not there.

    Raises:
        UsageError: There is nothing to resume, or the folder cannot be written to.
    """
    from rlrestore.cli.outputs import prepare_folder

    if args.resume and not args.out.is_dir():
        raise UsageError(
            f"nothing to resume in {args.out / 'training'}: expected a checkpoint there; leave out --resume"
        )
    prepare_folder(args.out)


def add_mixture_argument(parser: argparse.ArgumentParser) -> None:
    """Add the choice of the degradations that a training draws."""
    parser.add_argument(
        "--mixture",
        default="paper",
        metavar="FILE",
        help="paper: moderate mixtures and single distortions, as in the paper, which leaves mild and severe "
        "mixtures unseen (default); any: everything from clean to severe, for a model that people use; "
        "another that ships, or a TOML file",
    )
    add_renamed_argument(parser, "--damage", "--mixture")


def add_reward_argument(parser: argparse.ArgumentParser, more: str = "") -> None:
    """Add the choice of what an agent is rewarded with."""
    parser.add_argument(
        "--reward",
        choices=("psnr", "salient-psnr", "ssim"),
        default="psnr",
        help="what a step's gain is measured by: PSNR (default), PSNR weighted by saliency, or SSIM in dB"
        + more,
    )


def add_precision_argument(parser: argparse._ActionsContainer, default: str = "auto") -> None:
    """Add the choice of the precision that a restoration computes in."""
    parser.add_argument(
        "--precision",
        choices=("auto", "float32", "bfloat16"),
        default=default,
        help="that the tools compute in; auto is the fastest here that keeps every sample of a result within "
        f"1 of 255 of float32's: bfloat16 on processors with AMX (default: {default})",
    )


MOST_VIEWS = 8
"""All that there are; of `rlrestore.runtime.views`, which help is printed without."""


def add_views_argument(parser: argparse._ActionsContainer) -> None:
    """Add the number of views."""
    parser.add_argument(
        "--views",
        type=int,
        choices=range(1, MOST_VIEWS + 1),
        default=1,
        metavar="N",
        help="on how many views of the image, turned and mirrored, each tool works, for the mean of its "
        "results: from 1 to 8, a little better and so many times as long (default: 1)",
    )


class _Renamed(argparse.Action):
    """An option of an earlier version: refused, and its successor named."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: str | Sequence[Any] | None,
        option_string: str | None = None,
    ) -> None:
        """End with wrong usage."""
        del namespace, values
        parser.error(f"{option_string} is called {self.metavar} now")


def add_renamed_argument(parser: argparse.ArgumentParser, old: str, new: str) -> None:
    """Let an option's old name be refused with its new one, with exit code 2."""
    parser.add_argument(
        old, nargs="?", action=_Renamed, metavar=new, dest=argparse.SUPPRESS, help=argparse.SUPPRESS
    )
