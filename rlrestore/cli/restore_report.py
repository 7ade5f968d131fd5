"""What `rlrestore restore` tells of each image and of all of them."""

import argparse
import json
import sys
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rlrestore.cli.reporting import describe, print_whole, report, say_notes

if TYPE_CHECKING:
    from rlrestore.cli.planning import Job, Plan
    from rlrestore.inference.restoration import Restoration
    from rlrestore.trace import Trace


@dataclass
class Tally:
    """What became of the images of one call.

    Attributes:
        what: What they are called: `files` where there are videos among them.
        expected_db: The gain that the agent expected, of each image that was read; none if it is not in dB.
        expected_at: Of what it is expected, as `Trace.expected_at`.
        tools: How often each tool was applied.
        restored: Images to which a tool was applied.
        unchanged: Images to which none was.
        skipped: Images.
        failed: Images.
        said: What was said of those, each once: what ails a folder is said once, not for every image in it.
    """

    what: str = "images"
    expected_db: list[float] = field(default_factory=list)
    expected_at: str = ""
    tools: Counter[str] = field(default_factory=Counter)
    restored: int = 0
    unchanged: int = 0
    skipped: int = 0
    failed: int = 0
    said: set[str] = field(default_factory=set)

    def add(self, trace: "Trace") -> None:
        """Count an image that the agent has seen to."""
        if trace.tools:
            self.restored += 1
        else:
            self.unchanged += 1
        self.tools.update(trace.tools)
        if trace.expected_gain_db is not None:
            self.expected_db.append(trace.expected_gain_db)
            self.expected_at = trace.expected_at

    @property
    def total(self) -> int:
        """How many images were counted."""
        return self.restored + self.unchanged + self.skipped + self.failed

    def summary(self, total: int) -> str:
        """Return all of it in a line."""
        counts = [f"{self.restored} of {total} {self.what} restored"]
        were = "it was" if self.unchanged == 1 else "they were"
        counts += [f"{self.unchanged} left as {were}"] if self.unchanged else []
        counts += [f"{self.skipped} skipped"] if self.skipped else []
        counts += [f"{self.failed} failed"] if self.failed else []
        parts = [", ".join(counts)]
        if self.expected_db:
            mean_db = sum(self.expected_db) / len(self.expected_db)
            parts.append(f"mean expected gain {mean_db:+z.2f} dB {self.expected_at}".rstrip())
        if self.tools:
            parts.append(", ".join(f"{name} {count}×" for name, count in self.tools.most_common()))
        return "; ".join(parts)


def record(job: "Job", restoration: "Restoration", args: argparse.Namespace) -> dict[str, Any]:
    """Return what JSON says of an image."""
    files: dict[str, Any] = {"input": str(job.source), "output": str(job.output)}
    if args.trace:
        files |= {"trace_json": str(job.trace_json), "trace_picture": str(job.trace_picture)}
    files |= {"upscale": args.upscale} if args.upscale else {}
    notes = {"notes": list(restoration.photo.notes)} if restoration.photo.notes else {}
    return {**files, **notes, "device": args.device, **restoration.trace.to_json()}


def tell(job: "Job", restoration: "Restoration", args: argparse.Namespace) -> None:
    """Say on stdout what was done."""
    from rlrestore.imaging.io.files import shown

    say_notes(job.source, restoration.photo.notes)
    if args.json:
        line = json.dumps(record(job, restoration, args))
    else:
        line = f"{shown(job.source)} -> {shown(job.output)}: {summary(restoration)}"
        if args.trace:
            line += (
                f"\n{restoration.trace.table()}\ntrace: {shown(job.trace_json)}, {shown(job.trace_picture)}"
            )
    print_whole(line, sys.stdout)


def summary(restoration: "Restoration") -> str:
    """Return what was done to an image, and what came of it."""
    trace = restoration.trace
    if not trace.tools:
        done = "unchanged, no tool was expected to gain enough"
    else:
        chain = " > ".join(step.label for step in trace.applied)
        done = f"{chain} ({trace.expected_text})" if trace.expected_text else chain
        done += f", {trace.blend_text}" if trace.blend_text else ""
    done += ", no regions differ" if trace.found_alike else ""
    photo = restoration.photo
    if photo.width > trace.width:
        done += f", enlarged to {photo.width}×{photo.height}"
    if trace.start_psnr_db is None or trace.psnr_db is None:
        return done
    gain_db = trace.psnr_db - trace.start_psnr_db
    return f"{done}, PSNR {trace.start_psnr_db:.2f} to {trace.psnr_db:.2f} dB ({gain_db:+z.2f})"


def skip(job: "Job", args: argparse.Namespace, tally: Tally) -> None:
    """Pass over an image whose result is there."""
    tally.skipped += 1
    if args.json:
        line = {"input": str(job.source), "output": str(job.output), "skipped": True}
        print_whole(json.dumps(line), sys.stdout)


def fail(source: Path, error: Exception, args: argparse.Namespace, tally: Tally) -> None:
    """Report an image that could not be restored."""
    tally.failed += 1
    if describe(error, source) not in tally.said:
        tally.said.add(describe(error, source))
        report(error, args.debug, about=source)
    if args.json:
        print_whole(json.dumps({"input": str(source), "error": describe(error)}), sys.stdout)


def list_plan(plan: "Plan", args: argparse.Namespace) -> int:
    """Say what would be done; return 1 if some image would be refused."""
    from rlrestore.imaging.io.files import shown

    tally = Tally()
    for each in plan.refused:
        fail(each.source, each.problem, args, tally)
    for job in plan.jobs:
        if args.skip_existing and job.is_done(args.trace):
            skip(job, args, tally)
        elif args.json:
            print(json.dumps({"input": str(job.source), "output": str(job.output), "dry_run": True}))
        else:
            print(f"{shown(job.source)} -> {shown(job.output)}")
    return 1 if tally.failed else 0
