"""`rlrestore restore FOLDER --watch -o OUT`: restore what arrives in a folder, until Ctrl-C."""

import argparse
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from time import sleep

from rlrestore.cli.planning import Job, Plan
from rlrestore.cli.reporting import say
from rlrestore.errors import DataError, UsageError
from rlrestore.imaging.io.files import is_folder, is_whole, shown

POLL_S = 1.0
"""Seconds between two looks into the folder; a file that changed in between is not complete."""
PATIENCE = 10
"""Looks for which a file stays as it is before one that is not whole is taken for broken."""

Mark = tuple[int, int]


def check_watched(args: argparse.Namespace) -> None:
    """Make sure that there is one folder to watch, and another to write into.

    Raises:
        UsageError: There is not.
    """
    if len(args.inputs) != 1 or not is_folder(args.inputs[0]):
        raise UsageError(f"--watch goes with one folder, got {', '.join(map(shown, args.inputs))}")
    if args.out is None or args.reference is not None or args.trying or args.dry_run:
        raise UsageError("--watch goes with -o OUT, and with none of --reference, --try and --dry-run")


@dataclass
class Arrivals:
    """What was seen in a folder.

    Attributes:
        marks: Size and time of every file when it was last looked at.
        looks: For how many looks it has stayed so.
        dealt_with: The mark of every file that was restored, or was reported as broken.
    """

    marks: dict[Path, Mark] = field(default_factory=dict)
    looks: dict[Path, int] = field(default_factory=dict)
    dealt_with: dict[Path, Mark] = field(default_factory=dict)

    def due(self, jobs: Sequence[Job]) -> list[Job]:
        """Return the images that have arrived completely, or that are broken, each once."""
        found = []
        for job in jobs:
            try:
                status = job.source.stat()
            except OSError:  # it has gone
                continue
            mark = status.st_size, status.st_mtime_ns
            self.looks[job.source] = (
                self.looks.get(job.source, 0) + 1 if self.marks.get(job.source) == mark else 0
            )
            self.marks[job.source] = mark
            if self.dealt_with.get(job.source) == mark or not self.looks[job.source]:
                continue
            if is_whole(job.source) or self.looks[job.source] >= PATIENCE:
                self.dealt_with[job.source] = mark
                found.append(job)
        return found


def watch(
    plan: Callable[[], Plan],
    restore: Callable[[Sequence[Job]], None],
) -> None:
    """Look into a folder again and again, and restore what has arrived, until Ctrl-C.

    Args:
        plan: Lists the images that are there.
        restore: Restores some of them, and reports what cannot be.
    """
    arrivals = Arrivals()
    say("watching, until Ctrl-C")
    try:
        while True:
            jobs: Sequence[Job] = ()
            with suppress(DataError):  # nothing is there yet
                jobs = plan().jobs
            due = arrivals.due(jobs)
            if due:
                restore(due)
            sleep(POLL_S)
    except KeyboardInterrupt:
        say("watching has ended")
