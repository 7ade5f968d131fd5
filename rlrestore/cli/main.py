"""`rlrestore`: run one subcommand, and turn every failure into one line and an exit code.

Exit codes: 0 all was done; 1 work had begun, and the job or some image failed; 2 nothing was begun, as the
command line asks for what cannot be, by an option, a path or a model; 130 interrupted.
"""

import argparse
import errno
import io
import os
import signal
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

from rlrestore import __version__
from rlrestore.cli import (
    about,
    add_tool,
    degrade,
    distribute,
    evaluate,
    explain,
    export,
    import_paper,
    inspect,
    restore,
    serve,
    tools,
    train_agent,
    train_joint,
    train_tools,
)
from rlrestore.cli.reporting import report
from rlrestore.errors import RlrestoreError, UsageError, how_to_install

COMMANDS = (
    restore,
    distribute,
    serve,
    train_tools,
    train_agent,
    train_joint,
    evaluate,
    explain,
    degrade,
    tools,
    add_tool,
    import_paper,
    inspect,
    export,
    about,
)
"""The subcommands in the order of the help: each module has `add_parser(subparsers)` and `run(args)`."""

DISK_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})

FOR_TRAINING = frozenset({"torch", "gymnasium", "stable_baselines3", "sb3_contrib"})
"""What the distribution rlrestore-onnx does without."""
NEEDED = FOR_TRAINING | {"PIL", "cv2", "numpy", "safetensors", "tqdm"}
"""The modules of all that the main distribution depends on."""

FAILED, WRONG_USAGE, INTERRUPTED = 1, 2, 130


class OneLineParser(argparse.ArgumentParser):
    """A parser that says what is wrong in one line, and not all of its options before."""

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> tuple[Any, list[str]]:
        """Refuse what is not known here, so that a subcommand names its own help."""
        parsed, unknown = super().parse_known_args(args, namespace)
        if unknown:
            self.error(f"unrecognized arguments: {' '.join(unknown)}")
        return parsed, []

    def error(self, message: str) -> NoReturn:
        """Print what is wrong, and exit."""
        self.exit(WRONG_USAGE, f"{self.prog}: error: {message}; see {self.prog} --help\n")


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of the whole command line."""
    parser = OneLineParser(
        prog="rlrestore",
        description="Restore photographs with a toolbox of small networks and an agent that chooses.",
    )
    version = f"rlrestore {__version__}"
    parser.add_argument(
        "--version", action="version", version=version, help="print the version; `rlrestore about` says more"
    )
    parser.add_argument("--debug", action="store_true", help="show a traceback where something fails")
    subparsers = parser.add_subparsers(title="commands", dest="command", required=True, metavar="COMMAND")
    for command in COMMANDS:
        known = set(subparsers.choices)
        command.add_parser(subparsers)
        for name in set(subparsers.choices) - known:
            _finish(subparsers.choices[name], command.run)
    return parser


def _finish(parser: argparse.ArgumentParser, run: object) -> None:
    """Add to a subcommand's parser what all of them have."""
    parser.set_defaults(run=run)
    parser.add_argument(
        "--debug",
        action="store_true",
        default=argparse.SUPPRESS,
        help="show a traceback where something fails",
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line.

    Args:
        argv: The arguments; those of the process without it.

    Returns:
        The exit code.
    """
    _have_streams()
    _print_any_name()
    _end_in_order()
    args = build_parser().parse_args(argv)
    try:
        code = int(args.run(args))
        sys.stdout.flush()
    except KeyboardInterrupt:
        print("rlrestore: interrupted", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:
        # Nothing reads the output now, as in `rlrestore ... | head`. Python flushes once more at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return FAILED
    except Exception as error:  # noqa: BLE001  # the last resort: a person gets one line
        if isinstance(error, OSError) and error.errno in DISK_FULL and error.filename is None:
            # Files are written with errors of their own. Python flushes once more at its end.
            os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
            error = RlrestoreError(f"expected to write to stdout, but that failed ({error.strerror})")
        error = _explained(error, args.command)
        report(error, args.debug)
        return WRONG_USAGE if isinstance(error, UsageError) else FAILED
    return code


def _explained(error: Exception, command: str) -> Exception:
    """Return an error that a person understands in the place of one of the system's, where it is known."""
    if isinstance(error, OSError) and error.errno == errno.ENAMETOOLONG and error.filename is not None:
        return UsageError(
            f"expected a name that a file can have, but {error.filename!r} is too long: shorten it"
        )
    module = (error.name or "").partition(".")[0] if isinstance(error, ModuleNotFoundError) else ""
    if module not in NEEDED:
        return error
    alone = " (rlrestore-onnx restores alone)" if module in FOR_TRAINING else ""
    return UsageError(f"{command} needs {module}, which is not installed: {how_to_install()}{alone}")


def _have_streams() -> None:
    """Print into nothing where the caller closed stdout or stderr, as by `>&-`: Python leaves None there."""
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, Path(os.devnull).open("w", encoding="utf-8"))  # noqa: SIM115  # to the end


def _end_in_order() -> None:
    """Let SIGTERM end a command as Ctrl-C does: what is begun is finished or cleared away."""
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, signal.default_int_handler)


def _print_any_name() -> None:
    """Let file names that the terminal's encoding cannot show be printed escaped."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")
