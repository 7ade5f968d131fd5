"""Messages for the user on stderr."""

import argparse
import logging
import sys
import traceback
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TextIO

from rlrestore.errors import RlrestoreError, UsageError


def describe(error: BaseException, about: Path | None = None) -> str:
    """Return an error as one line.

    Args:
        error: What went wrong. Our own errors say all there is to say; one that nobody foresaw gets its
            kind, the file and what to do next.
        about: The file that was being worked on.
    """
    message = " ".join(str(error).split())
    if isinstance(error, RlrestoreError):
        return message
    where = "" if about is None else f"{str(about)!r}: "
    return f"{where}unexpected {type(error).__name__}: {message} (run again with --debug to see where)"


def report(error: BaseException, debug: bool = False, about: Path | None = None) -> None:
    """Print an error as one line, after its traceback if that is asked for."""
    if debug:
        traceback.print_exception(error)
    say(f"error: {describe(error, about)}")


def run_script(parser: argparse.ArgumentParser, run: Callable[[argparse.Namespace], None]) -> int:
    """Run one of `scripts/`: what a person did wrong, and Ctrl-C, become a line and an exit code."""
    args = parser.parse_args()
    try:
        run(args)
    except KeyboardInterrupt:
        say("interrupted")
        return 130
    except RlrestoreError as error:
        report(error)
        return 2 if isinstance(error, UsageError) else 1
    return 0


def say(message: str) -> None:
    """Print one line on stderr, beside a progress bar if there is one."""
    print_whole(f"rlrestore: {message}", sys.stderr)


def print_whole(message: str, stream: TextIO) -> None:
    """Print a message, beside a progress bar if there is one; no signal parts it from its line end."""
    whole = f"{message}\n"
    if "tqdm" not in sys.modules:  # no bar, and what is said may be that a library is missing
        stream.write(whole)
    else:
        from tqdm import tqdm

        tqdm.write(whole, file=stream, end="")
    stream.flush()


def say_notes(source: Path, notes: Iterable[str]) -> None:
    """Print what of an image could not be kept, one line each on stderr."""
    for note in notes:
        say(f"note: {str(source)!r}: {note}")


class _LogToStderr(logging.Handler):
    """Shows what the library logs, one line each, beside a progress bar if there is one."""

    def emit(self, record: logging.LogRecord) -> None:
        say(record.getMessage())


def show_log() -> None:
    """Show on stderr what a training logs on its way."""
    log = logging.getLogger("rlrestore")
    log.setLevel(logging.INFO)
    if not any(isinstance(handler, _LogToStderr) for handler in log.handlers):
        log.addHandler(_LogToStderr())
