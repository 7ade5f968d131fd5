"""`rlrestore restore`: restore photographs."""

import argparse
import json
import sys
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rlrestore.cli import Subparsers
from rlrestore.cli.arguments import percentage, positive_int
from rlrestore.cli.reporting import describe, report, say, say_notes
from rlrestore.errors import UsageError

if TYPE_CHECKING:
    from rlrestore.cli.planning import Job, Plan
    from rlrestore.restorer import Restoration, Restorer
    from rlrestore.trace import Trace

FORMATS = ("png", "tif", "webp", "bmp", "ppm", "jpg", "avif")
UNCHANGED = "unchanged"
SMALL_PIXELS = 1_000_000
"""Of an image that one core restores while you wait: such are restored side by side."""

DESCRIPTION = """\
Restore photographs that are blurred, noisy or JPEG-compressed in any mixture.
Each result is written next to its input as NAME_restored.png unless -o or
--format say otherwise; an input is never overwritten, an earlier result is.
"""
EPILOG = """\
--trace shows what was done and why: a table, NAME_restored.json, and
NAME_restored_trace.png with every step side by side. The gain that the agent
expects is in dB of PSNR, without a reference; stopping gains 0, and is chosen
where no tool is expected to gain enough, 0.1 dB for the shipped models.

A search of a folder or pattern leaves out names ending in _restored and
_restored_trace: the results of earlier runs. Where x.jpg and x.png would have
the same result, they get x_jpg_restored.png and x_png_restored.png.

Exit codes: 0 all done, 1 some image failed (the others are restored all the
same), 2 wrong usage.
"""


def add_parser(subparsers: Subparsers) -> None:
    """Add the subcommand to the command line."""
    parser = subparsers.add_parser(
        "restore",
        help="restore photographs",
        description=DESCRIPTION,
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "inputs",
        nargs="+",
        metavar="IMG|DIR|GLOB",
        help="images, folders with their subfolders, or quoted patterns",
    )
    parser.add_argument(
        "-o",
        "--out",
        metavar="OUT",
        help="a file for one image, else a folder that mirrors the input's; an existing folder or a trailing "
        "slash means a folder (default: beside the input)",
    )
    parser.add_argument(
        "--trace", action="store_true", help="show what was done and why: table, JSON and picture"
    )
    parser.add_argument(
        "--reference", metavar="GT", help="the undamaged image, to measure the PSNR (one image only)"
    )
    parser.add_argument(
        "--mode",
        choices=("global", "local"),
        default="global",
        help="one chain for the whole image, or for every region, where degradation varies (default: global)",
    )
    parser.add_argument(
        "--max-steps", type=positive_int, metavar="N", help="tools to apply at most (default: the model's, 3)"
    )
    parser.add_argument(
        "--model", default="default", metavar="M", help="name or folder (default: the shipped one)"
    )
    parser.add_argument("--device", default="cpu", metavar="D", help="cpu, cuda, cuda:1, … (default: cpu)")
    parser.add_argument(
        "--format",
        choices=FORMATS,
        help="of the results that -o does not name (default: png); jpg and avif lose detail, only png, "
        "tif and ppm keep 16 bits; what else a format cannot hold is said",
    )
    parser.add_argument(
        "--quality",
        type=percentage,
        metavar="Q",
        help="from 1 to 100, for jpg and avif (default: 95), and for webp, which is lossless without it",
    )
    parser.add_argument(
        "--skip-existing",
        action="store_true",
        help="leave out images whose result is there and whole, to go on after a stop",
    )
    parser.add_argument(
        "--workers",
        type=positive_int,
        metavar="N",
        help="images of up to a megapixel that are restored at a time, 170 MB for each, and results that are "
        "written meanwhile; it changes no result (default: one for each core, at least 2)",
    )
    parser.add_argument(
        "--json",
        action="store_true",
        help="print one line of JSON per image to stdout, and nothing else there",
    )


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
    restorer = Restorer.from_pretrained(args.model, args.device)
    tally = Tally()
    for source, problem in plan.refused:
        _fail(source, problem, args, tally)
    due = []
    for job in plan.jobs:
        if args.skip_existing and job.is_done(args.trace):
            _skip(job, args, tally)
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


@dataclass
class Tally:
    """What became of the images of one call.

    Attributes:
        expected_db: The gain that the agent expected, of each image restored; none if it is not in dB.
        tools: How often each tool was applied; `UNCHANGED` counts images that none was.
        restored: Images.
        skipped: Images.
        failed: Images.
    """

    expected_db: list[float] = field(default_factory=list)
    tools: Counter[str] = field(default_factory=Counter)
    restored: int = 0
    skipped: int = 0
    failed: int = 0

    def add(self, trace: "Trace") -> None:
        """Count an image that was restored."""
        self.restored += 1
        self.tools.update(trace.tools or (UNCHANGED,))
        if trace.expected_gain_db is not None:
            self.expected_db.append(trace.expected_gain_db)

    def summary(self, total: int) -> str:
        """Return all of it in a line."""
        counts = [f"{self.restored} of {total} images restored"]
        counts += [f"{self.skipped} skipped"] if self.skipped else []
        counts += [f"{self.failed} failed"] if self.failed else []
        parts = [", ".join(counts)]
        if self.expected_db:
            parts.append(f"mean expected gain {sum(self.expected_db) / len(self.expected_db):+.2f} dB")
        if self.tools:
            parts.append(", ".join(f"{name} {count}×" for name, count in self.tools.most_common()))
        return "; ".join(parts)


def _restore_all(restorer: "Restorer", jobs: Sequence["Job"], args: argparse.Namespace, tally: Tally) -> None:
    """Restore every image: small ones side by side, others while the one before is written."""
    from tqdm import tqdm

    from rlrestore.cli.batch import batch
    from rlrestore.imaging.io.files import claimed_pixels

    def settle(job: "Job", done: Future["Restoration"]) -> None:
        error = done.exception()
        if isinstance(error, Exception) and not isinstance(error, UsageError):
            _fail(job.source, error, args, tally)
        else:
            restoration = done.result()
            tally.add(restoration.trace)
            _tell(job, restoration, args)
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

    record = json.dumps(_record(job, restoration, args), indent=2)
    write_file(job.trace_json, f"{record}\n".encode())
    write_picture(job.trace_picture, restoration.trace.picture())


def _record(job: "Job", restoration: "Restoration", args: argparse.Namespace) -> dict[str, Any]:
    files = {"input": str(job.source), "output": str(job.output)}
    if args.trace:
        files |= {"trace_json": str(job.trace_json), "trace_picture": str(job.trace_picture)}
    notes = {"notes": list(restoration.photo.notes)} if restoration.photo.notes else {}
    return {**files, **notes, "device": args.device, **restoration.trace.to_json()}


def _tell(job: "Job", restoration: "Restoration", args: argparse.Namespace) -> None:
    """Say on stdout what was done."""
    from tqdm import tqdm

    from rlrestore.imaging.io.files import shown

    say_notes(job.source, restoration.photo.notes)
    if args.json:
        line = json.dumps(_record(job, restoration, args))
    else:
        line = f"{shown(job.source)} -> {shown(job.output)}: {_summary(restoration)}"
        if args.trace:
            line += (
                f"\n{restoration.trace.table()}\ntrace: {shown(job.trace_json)}, {shown(job.trace_picture)}"
            )
    tqdm.write(line, file=sys.stdout)
    sys.stdout.flush()


def _summary(restoration: "Restoration") -> str:
    trace = restoration.trace
    if not trace.tools:
        done = "unchanged, no tool would help"
    else:
        chain = " > ".join(step.label for step in trace.applied)
        expected_db = trace.expected_gain_db
        expected = "" if expected_db is None else f" (expected {expected_db:+.2f} dB)"
        done = f"{chain}{expected}"
    if trace.start_psnr_db is None or trace.psnr_db is None:
        return done
    gain_db = trace.psnr_db - trace.start_psnr_db
    return f"{done}, PSNR {trace.start_psnr_db:.2f} to {trace.psnr_db:.2f} dB ({gain_db:+.2f})"


def _skip(job: "Job", args: argparse.Namespace, tally: Tally) -> None:
    """Pass over an image whose result is there."""
    tally.skipped += 1
    if args.json:
        print(json.dumps({"input": str(job.source), "output": str(job.output), "skipped": True}))


def _fail(source: Path, error: Exception, args: argparse.Namespace, tally: Tally) -> None:
    """Report an image that could not be restored."""
    from tqdm import tqdm

    tally.failed += 1
    report(error, args.debug, about=source)
    if args.json:
        tqdm.write(json.dumps({"input": str(source), "error": describe(error)}), file=sys.stdout)
        sys.stdout.flush()
