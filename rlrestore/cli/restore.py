"""`rlrestore restore`: restore photographs."""

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from rlrestore.cli import Subparsers
from rlrestore.cli.reporting import say
from rlrestore.cli.restore_options import DESCRIPTION, EPILOG, FORMATS, add_arguments
from rlrestore.cli.restore_report import Tally, fail, record, skip, tell
from rlrestore.cli.trying import check_trying, try_chains
from rlrestore.errors import UsageError

if TYPE_CHECKING:
    from rlrestore.cli.planning import Job, Plan
    from rlrestore.inference.restoration import Restoration
    from rlrestore.restorer import Restorer

SMALL_PIXELS = 1_000_000
"""Of an image that one core restores while you wait: such are restored side by side."""


def add_parser(subparsers: Subparsers) -> None:
    """Add the subcommand to the command line."""
    parser = subparsers.add_parser(
        "restore",
        help="restore photographs",
        description=DESCRIPTION,
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Restore every image that can be; return 1 if some could not.

    Raises:
        UsageError: Something missing, unknown or contradictory on the command line.
    """
    from rlrestore.cli.planning import make_plan
    from rlrestore.restorer import Restorer

    plan = make_plan(args.inputs, args.out, args.reference, f".{args.format or FORMATS[0]}")
    total = len(plan.jobs) + len(plan.refused)
    if args.reference is not None and total != 1:
        raise UsageError(f"--reference goes with one image, got {total}: restore them one by one")
    _check_format(plan, args)
    if args.trying:
        check_trying(plan, args)
    restorer = Restorer.from_pretrained(args.model, args.device)
    if args.trying:
        try_chains(restorer, plan, args)
        return 0
    tally = Tally()
    for source, problem in plan.refused:
        fail(source, problem, args, tally)
    due = []
    for job in plan.jobs:
        if args.skip_existing and job.is_done(args.trace):
            skip(job, args, tally)
        else:
            due.append(job)
    _restore_all(restorer, due, args, tally)
    if total > 1 or tally.skipped:
        say(tally.summary(total))
    return 1 if tally.failed else 0


def _check_format(plan: "Plan", args: argparse.Namespace) -> None:
    """Make sure that what was asked of the format fits the results' names.

    Raises:
        UsageError: It does not.
    """
    from rlrestore.imaging.io.encoding import LOSSY_SUFFIXES

    for output in (job.output for job in plan.jobs):
        if args.format is not None and output.suffix.lower() != f".{args.format}":
            raise UsageError(
                f"--format {args.format} does not go with -o {output.name}: leave one of them out"
            )
        if args.quality is not None and output.suffix.lower() not in LOSSY_SUFFIXES:
            raise UsageError(
                f"--quality goes with jpg, avif and webp, but the result {output.name} is none of these: "
                "give --format jpg, or leave the quality out"
            )


def _restore_all(restorer: "Restorer", jobs: Sequence["Job"], args: argparse.Namespace, tally: Tally) -> None:
    """Restore every image: small ones side by side, others while the one before is written."""
    from tqdm import tqdm

    from rlrestore.cli.batch import batch
    from rlrestore.imaging.io.files import claimed_pixels

    def settle(job: "Job", done: Future["Restoration"]) -> None:
        error = done.exception()
        if isinstance(error, Exception) and not isinstance(error, UsageError):
            fail(job.source, error, args, tally)
        else:
            restoration = done.result()
            tally.add(restoration.trace)
            tell(job, restoration, args)
        bar.update()

    largest = largest_beside(restorer) if len(jobs) > 1 else 0
    workers = args.workers or max(2, restorer.runtime.threads)
    # disable=None: no bar where stderr is no terminal.
    bar = tqdm(total=len(jobs), unit="image", disable=True if len(jobs) == 1 else None, file=sys.stderr)
    with bar, batch(settle, workers, restorer.runtime) as work:
        for job in jobs:
            pixels = claimed_pixels(job.source)
            if pixels <= largest:
                work.submit(job, pixels, partial(_restore_and_write, restorer, job, args))
            else:
                work.do_here(job, pixels, partial(_restored, restorer, job, args, progress=True))


def largest_beside(restorer: "Restorer") -> int:
    """Return up to how many pixels an image is not restored in the main thread.

    There it has all cores, and an interruption ends it at once. On another device than the cores the threads
    take turns, and it works while they read and write.
    """
    from rlrestore.cli.batch import PIXELS_HELD

    if restorer.runtime.device != "cpu":
        return PIXELS_HELD
    return SMALL_PIXELS if restorer.runtime.concurrent else 0


def _restored(
    restorer: "Restorer", job: "Job", args: argparse.Namespace, progress: bool
) -> Callable[[], "Restoration"]:
    """Restore one image, if its result can be written; return what writes it."""
    from rlrestore.cli.outputs import prepare_output
    from rlrestore.imaging.io.files import check_output, read_photo, shown
    from rlrestore.imaging.io.holding import check_holds, fitted

    prepare_output(job.output)
    if args.trace:
        check_output(job.trace_picture)
    photo, suffix = read_photo(job.source), job.output.suffix.lower()
    check_holds(photo, suffix, shown(job.output))
    photo = replace(photo, notes=(*photo.notes, *fitted(photo, suffix)[1]))
    options = {"keep_steps": args.trace, "progress": progress, "in_place": True}
    options |= {"chain": args.chain, "only": args.only, "never": args.never}
    options |= {"strength": args.strength, "detail": args.detail, "keep_original": False}
    restoration = restorer.restore(photo, args.reference, args.mode, args.max_steps, **options)
    return partial(_write, job, restoration, args)


def _restore_and_write(restorer: "Restorer", job: "Job", args: argparse.Namespace) -> "Restoration":
    return _restored(restorer, job, args, progress=False)()


def _write(job: "Job", restoration: "Restoration", args: argparse.Namespace) -> "Restoration":
    """Write what belongs to an image; return its restoration."""
    restoration.save(job.output, args.quality)
    if args.trace:
        _write_trace(job, restoration, args)
    return restoration


def _write_trace(job: "Job", restoration: "Restoration", args: argparse.Namespace) -> None:
    from rlrestore.cli.outputs import write_file, write_picture

    content = json.dumps(record(job, restoration, args), indent=2)
    write_file(job.trace_json, f"{content}\n".encode())
    write_picture(job.trace_picture, restoration.trace.picture())
