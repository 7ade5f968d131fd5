"""`rlrestore restore`: restore photographs."""

import argparse
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rlrestore.cli import Subparsers
from rlrestore.cli.arguments import positive_int
from rlrestore.cli.reporting import describe, report, say
from rlrestore.errors import UsageError

if TYPE_CHECKING:
    from rlrestore.cli.planning import Job, Plan
    from rlrestore.restore import Restoration, Restorer

DESCRIPTION = """\
Restore photographs that are blurred, noisy or JPEG-compressed in any mixture.
Each result is written next to its input as NAME_restored.png unless -o says
otherwise; an input is never overwritten.
"""
EPILOG = """\
--trace shows what was done and why: a table, NAME_restored.json, and
NAME_restored_trace.png with every step side by side. The gain that the agent
expects is in dB of PSNR, without a reference; stopping gains 0.

A search of a folder or pattern leaves out names ending in _restored and
_restored_trace: the results of earlier runs.

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
        help="one chain for the whole image, or for every region, where damage varies (default: global)",
    )
    parser.add_argument(
        "--max-steps", type=positive_int, metavar="N", help="tools to apply at most (default: the model's, 3)"
    )
    parser.add_argument(
        "--model", default="default", metavar="M", help="name or folder (default: the shipped one)"
    )
    parser.add_argument("--device", default="cpu", metavar="D", help="cpu, cuda, cuda:1, … (default: cpu)")
    parser.add_argument(
        "--json", action="store_true", help="print one line of JSON per image, and nothing else"
    )


def run(args: argparse.Namespace) -> int:
    """Restore every image that can be; return 1 if some could not.

    Raises:
        UsageError: Something missing, unknown or contradictory on the command line.
    """
    from rlrestore.cli.planning import make_plan
    from rlrestore.restore import Restorer

    plan = make_plan(args.inputs, args.out, args.reference)
    if args.reference is not None and len(plan.jobs) + len(plan.clashes) != 1:
        raise UsageError(f"--reference goes with one image, got {len(plan.jobs)}: restore them one by one")
    restorer = Restorer.from_pretrained(args.model, args.device)
    failed = _restore_all(restorer, plan, args)
    total = len(plan.jobs) + len(plan.clashes)
    if total > 1:
        say(f"{total - failed} of {total} images restored" + (f", {failed} failed" if failed else ""))
    return 1 if failed else 0


def _restore_all(restorer: "Restorer", plan: "Plan", args: argparse.Namespace) -> int:
    """Carry out a plan; return how many images failed."""
    from tqdm import tqdm

    failed = 0
    for source, clash in plan.clashes:
        _fail(source, clash, args)
        failed += 1
    # disable=None: no bar where stderr is no terminal.
    bar = tqdm(plan.jobs, unit="image", disable=True if len(plan.jobs) == 1 else None, file=sys.stderr)
    with bar:
        for job in bar:
            try:
                restoration = _restore_one(restorer, job, args)
            except UsageError:
                raise
            except Exception as error:  # noqa: BLE001  # the other images are restored all the same
                _fail(job.source, error, args)
                failed += 1
            else:
                _tell(job, restoration, args)
    return failed


def _restore_one(restorer: "Restorer", job: "Job", args: argparse.Namespace) -> "Restoration":
    """Restore one image and write what belongs to it; return the restoration without its steps."""
    from rlrestore.cli.outputs import prepare_output

    prepare_output(job.output)
    restoration = restorer.restore(
        job.source, args.reference, args.mode, args.max_steps, keep_steps=args.trace, progress=True
    )
    restoration.save(job.output)
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

    from rlrestore.imaging.files import shown

    for note in restoration.photo.notes:
        say(f"note: {shown(job.source)}: {note}")
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
        expected = f" (expected {trace.value_text(trace.expected_gain_db)})" if trace.values_in_db else ""
        done = f"{chain}{expected}"
    if trace.start_psnr_db is None or trace.psnr_db is None:
        return done
    gain_db = trace.psnr_db - trace.start_psnr_db
    return f"{done}, PSNR {trace.start_psnr_db:.2f} to {trace.psnr_db:.2f} dB ({gain_db:+.2f})"


def _fail(source: Path, error: Exception, args: argparse.Namespace) -> None:
    """Report an image that could not be restored."""
    from tqdm import tqdm

    report(error, args.debug, about=source)
    if args.json:
        tqdm.write(json.dumps({"input": str(source), "error": describe(error)}), file=sys.stdout)
        sys.stdout.flush()
