"""`rlrestore restore`: restore photographs."""

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from rlrestore.cli import Subparsers
from rlrestore.cli.piping import check_piped, is_piped, restore_piped
from rlrestore.cli.reporting import say
from rlrestore.cli.restore_options import DESCRIPTION, EPILOG, FORMATS, add_arguments
from rlrestore.cli.restore_report import Tally, fail, list_plan, record, skip, tell
from rlrestore.cli.trying import check_trying, try_all
from rlrestore.cli.videos import check_videos, restore_videos
from rlrestore.errors import UsageError

if TYPE_CHECKING:
    from rlrestore.cli.planning import Job, Plan
    from rlrestore.inference.restoration import Restoration
    from rlrestore.restorer import Restorer

KEEP: Literal["keep"] = "keep"
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
    if is_piped(args):
        check_piped(args)
        restore_piped(_restorer(args), args, _options(args))
        return 0
    if args.watch:
        return _watch(args)
    if args.shard is not None and args.reference is not None:
        raise UsageError("--shard does not go with --reference, which is for one image")
    plan = _plan(args)
    check_videos(plan, args)
    if args.reference is not None:
        _check_reference(plan, args.reference)
    _check_format(plan, args)
    if args.shard is not None:
        whole, plan = plan, _part(plan, args)
        say(f"shard {args.shard} holds {plan.total or 'none'} of {whole.total} images")
    if args.dry_run:
        _check_model(args)
        return list_plan(plan, args)
    if args.trying:
        check_trying(args)
        _prepare_out(plan, args.out)
        return try_all(_restorer(args), plan, args)
    with_videos = any(job.is_video for job in plan.jobs)
    restorer, tally = _restorer(args), Tally("files" if with_videos else "images")
    _prepare_out(plan, args.out)
    for each in plan.refused:
        fail(each.source, each.problem, args, tally)
    _restore_due(restorer, plan.jobs, args, tally)
    if plan.total > 1 or tally.skipped:
        say(tally.summary(plan.total))
    return 1 if tally.failed else 0


def _watch(args: argparse.Namespace) -> int:
    """Restore what arrives in a folder, until Ctrl-C."""
    from rlrestore.cli.outputs import prepare_folder
    from rlrestore.cli.watching import check_watched, watch

    check_watched(args)
    restorer, tally = _restorer(args), Tally()
    prepare_folder(Path(args.out), "results", "-o")
    watch(lambda: _part(_plan(args), args), lambda jobs: _restore_due(restorer, jobs, args, tally))
    say(tally.summary(tally.total))
    return 1 if tally.failed else 0


def _check_reference(plan: "Plan", reference: str) -> None:
    """Make sure that a reference can be opened, and goes with one image.

    Raises:
        UsageError: It does not.
    """
    from rlrestore.cli.outputs import check_named

    if plan.total != 1:
        raise UsageError(f"--reference goes with one image, got {plan.total}: restore them one by one")
    check_named(reference)


def _prepare_out(plan: "Plan", out: str | None) -> None:
    """Make what `-o` names, and see that it can be written: once, and not for every image.

    Raises:
        UsageError: It cannot.
    """
    from rlrestore.cli.outputs import prepare_folder, prepare_named
    from rlrestore.cli.videos import check_video_output
    from rlrestore.imaging.io.files import check_output

    if out is None:
        return
    named = [job for job in plan.jobs if job.output == Path(out)]
    if named:
        check = check_video_output if named[0].is_video else check_output
        prepare_named(named[0].output, named[0].source, check=check)
    else:
        prepare_folder(Path(out), "results", "-o")


def _part(plan: "Plan", args: argparse.Namespace) -> "Plan":
    """Return what of a plan this call does."""
    return plan if args.shard is None else plan.part(args.shard)


def _plan(args: argparse.Namespace) -> "Plan":
    """Find the images and name their results."""
    from rlrestore.cli.planning import make_plan
    from rlrestore.imaging.io.files import is_video
    from rlrestore.video.library import result_suffix

    def suffix(source: Path) -> str:
        if is_video(source):
            return result_suffix(source)
        return _kept(source) if args.format == KEEP else f".{args.format or FORMATS[0]}"

    return make_plan(args.inputs, args.out, args.reference, suffix)


def _restorer(args: argparse.Namespace) -> "Restorer":
    """Read the model, with as many cores as it may use; refuse to enlarge where that cannot be."""
    from rlrestore.inference.upscaling import upscaler_of
    from rlrestore.restorer import Restorer

    if args.upscale:
        upscaler_of(args.model, args.device)
    restorer = Restorer.from_pretrained(args.model, args.device, args.precision)
    if args.threads is not None:
        restorer.runtime.set_threads(args.threads)
    return restorer


def _check_model(args: argparse.Namespace) -> None:
    """Refuse what the model would refuse of the command line.

    Raises:
        UsageError: There is no such model, or no such tool in it.
    """
    from rlrestore.inference.choice import make_choice

    make_choice(_restorer(args).runtime.tools.specs, args.chain, args.only, args.never)


def _options(args: argparse.Namespace) -> dict[str, Any]:
    """Return what `Restorer.restore` is told of the command line, beside mode and limit."""
    overruled = {"chain": args.chain, "only": args.only, "never": args.never, "views": args.views}
    shares = {"strength": args.strength, "detail": args.detail, "keep_original": False}
    return {"keep_steps": args.trace, "inspect": args.trace, **overruled, **shares}


def _restore_due(restorer: "Restorer", jobs: Sequence["Job"], args: argparse.Namespace, tally: Tally) -> None:
    """Restore images and then videos, but for those that were restored before, where these are left out."""
    due = []
    for job in jobs:
        if args.skip_existing and job.is_done(args.trace):
            skip(job, args, tally)
        else:
            due.append(job)
    _restore_all(restorer, [job for job in due if not job.is_video], args, tally)
    restore_videos(restorer, [job for job in due if job.is_video], args, tally)


def _kept(source: Path) -> str:
    """Return the suffix of a result in the format that came in."""
    from rlrestore.imaging.io.files import claimed_format
    from rlrestore.imaging.io.keeping import kept_suffix

    return kept_suffix(claimed_format(source), source)


def _check_format(plan: "Plan", args: argparse.Namespace) -> None:
    """Make sure that what was asked of the format fits the results' names.

    Raises:
        UsageError: It does not.
    """
    from rlrestore.imaging.io.encoding import LOSSY_SUFFIXES

    for output in (job.output for job in plan.jobs if not job.is_video):
        if args.format not in (None, KEEP) and output.suffix.lower() != f".{args.format}":
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

    from rlrestore.imaging.io.files import claimed_pixels
    from rlrestore.inference.batch import batch, usual_workers

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
    workers = args.workers or args.threads or usual_workers(restorer.runtime)
    # disable=None: no bar where stderr is no terminal.
    bar = tqdm(total=len(jobs), unit="image", disable=True if len(jobs) == 1 else None, file=sys.stderr)
    with bar, batch(settle, workers, restorer.runtime) as work:
        for job in jobs:
            pixels = claimed_pixels(job.source)
            held = pixels * (args.upscale or 1) ** 2
            if pixels <= largest:
                work.submit(job, held, partial(_restore_and_write, restorer, job, args))
            else:
                work.do_here(job, held, partial(_restored, restorer, job, args, progress=True))


def largest_beside(restorer: "Restorer") -> int:
    """Return up to how many pixels an image is not restored in the main thread.

    There it has all cores, and an interruption ends it at once. Another device than the cores computes for
    many threads at a time, while others read and write.
    """
    from rlrestore.inference.batch import PIXELS_HELD

    if restorer.runtime.device != "cpu":
        return PIXELS_HELD
    return SMALL_PIXELS if restorer.runtime.concurrent else 0


def _restored(
    restorer: "Restorer", job: "Job", args: argparse.Namespace, progress: bool
) -> Callable[[], "Restoration"]:
    """Restore one image, if its result can be written; return what writes it."""
    from rlrestore.cli.outputs import prepare_output
    from rlrestore.imaging.io.files import check_output, claimed_format, read_photo, shown
    from rlrestore.imaging.io.holding import check_holds, fitted
    from rlrestore.imaging.io.keeping import KEPT_AS
    from rlrestore.inference.upscaling import check_enlarged

    prepare_output(job.output)
    if args.trace:
        check_output(job.trace_picture)
    photo, suffix = read_photo(job.source), job.output.suffix.lower()
    check_holds(photo, suffix, shown(job.output), args.upscale or 1)
    if args.upscale:
        check_enlarged(photo.width, photo.height, args.upscale)
    photo = replace(photo, notes=(*photo.notes, *fitted(photo, suffix)[1]))
    if args.format == KEEP and claimed_format(job.source) not in KEPT_AS:
        photo = replace(photo, notes=(*photo.notes, f"its format cannot be written: {suffix[1:]} instead"))
    options = {"progress": progress, "in_place": True, **_options(args)}
    restoration = restorer.restore(photo, args.reference, args.mode, args.max_steps, **options)
    if args.upscale:
        restoration = restoration.enlarged(args.upscale, args.model, args.device)
    return partial(_write, job, restoration, args)


def _restore_and_write(restorer: "Restorer", job: "Job", args: argparse.Namespace) -> "Restoration":
    return _restored(restorer, job, args, progress=False)()


def _write(job: "Job", restoration: "Restoration", args: argparse.Namespace) -> "Restoration":
    """Write what belongs to an image; return its restoration."""
    restoration.save(job.output, KEEP if args.format == KEEP and args.quality is None else args.quality)
    if args.trace:
        _write_trace(job, restoration, args)
    return restoration


def _write_trace(job: "Job", restoration: "Restoration", args: argparse.Namespace) -> None:
    from rlrestore.cli.outputs import write_file, write_picture

    content = json.dumps(record(job, restoration, args), indent=2)
    write_file(job.trace_json, f"{content}\n".encode())
    write_picture(job.trace_picture, restoration.trace.picture())
