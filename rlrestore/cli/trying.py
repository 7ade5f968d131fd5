"""`rlrestore restore --try`: the few best chains of each image side by side, and how to repeat each."""

import argparse
from collections.abc import Iterator
from typing import TYPE_CHECKING

from rlrestore.cli.reporting import say_notes
from rlrestore.cli.restore_report import Tally, fail
from rlrestore.errors import RlrestoreError, UsageError

if TYPE_CHECKING:
    from rlrestore.cli.planning import Job, Plan
    from rlrestore.imaging.io.photo import Photo
    from rlrestore.inference.restoration import Restoration
    from rlrestore.restorer import Restorer

REFUSED = ("upscale", "chain", "trace", "format", "quality", "json", "skip_existing")


def check_trying(args: argparse.Namespace) -> None:
    """Make sure that what was asked for goes with `--try`.

    Raises:
        UsageError: It does not.
    """
    for name in REFUSED:
        if getattr(args, name):
            option = f"--{name.replace('_', '-')}"
            raise UsageError(f"{option} does not go with --try, which writes one picture of several chains")


def try_all(restorer: "Restorer", plan: "Plan", args: argparse.Namespace) -> int:
    """Write the picture of every image, and print its chains; return 1 if some image failed."""
    tally = Tally()
    for refused in plan.refused:
        fail(refused.source, refused.problem, args, tally)
    for job in plan.jobs:
        try:
            try_chains(restorer, job, args)
        except UsageError:
            raise
        except RlrestoreError as error:
            fail(job.source, error, args, tally)
    return 1 if tally.failed else 0


def try_chains(restorer: "Restorer", job: "Job", args: argparse.Namespace) -> None:
    """Write the picture of one image, and print the chains.

    Raises:
        RlrestoreError: The image cannot be read or the picture not written.
    """
    from rlrestore.cli.outputs import prepare_output, write_picture
    from rlrestore.imaging.io.files import read_photo, shown
    from rlrestore.inference.photos import to_frame, to_planes
    from rlrestore.picture import Panel, draw

    prepare_output(job.try_picture)
    photo = read_photo(job.source)
    panels: dict[str, Panel] = {}
    for name, option, done in _attempts(restorer, photo, args):
        pixels = to_frame(to_planes(done.photo))
        panels.setdefault(option, Panel(pixels, option, (name, *_figures(done))))
    panels["--strength 0"] = Panel(to_frame(to_planes(photo)), "--strength 0", ("unchanged",))
    write_picture(job.try_picture, draw(list(panels.values()), compare=(len(panels) - 1, 0)))
    say_notes(job.source, photo.notes)
    print(f"{shown(job.source)} -> {shown(job.try_picture)}")
    for option, panel in panels.items():
        print(f"  {option}: {', '.join(panel.caption)}", flush=True)


def _attempts(
    restorer: "Restorer", photo: "Photo", args: argparse.Namespace
) -> Iterator[tuple[str, str, "Restoration"]]:
    """Yield what to compare, and the options that repeat it.

    A chain without a tool is the unchanged image.
    """
    from rlrestore.inference.choice import alternatives

    asked = {"only": args.only, "never": args.never, "max_steps": args.max_steps}
    shares = {name: value for name, value in _shares(args).items() if value is not None}

    def restored(**options: object) -> "Restoration":
        if "chain" in options:
            options = {"only": (), "never": (), "max_steps": None, **options}
        fixed = {"keep_steps": False, "keep_original": False, "progress": True}
        return restorer.restore(photo, args.reference, **fixed | shares | asked | options)

    def repeated(option: str) -> str:
        return " ".join([option, *(f"--{name} {value:g}" for name, value in shares.items())])

    name = "the agent's choice"
    if args.mode == "local":
        local = restored(mode="local")
        if local.trace.divided:
            yield "other chains for regions that differ", repeated(_local(args)), local
        else:
            name += ", no regions differ"
    best = restored()
    attempts = [(name, best)]
    attempts += [(other.name, restored(**other.options)) for other in alternatives(best.trace)]
    for name, done in attempts:
        if done.trace.tools:
            yield name, repeated(f"--chain {','.join(done.trace.tools)}"), done


def _shares(args: argparse.Namespace) -> dict[str, float | None]:
    """Return views, strength and detail where they are not the usual ones."""
    return {
        "views": args.views if args.views != 1 else None,
        "strength": args.strength if args.strength != 1 else None,
        "detail": args.detail or None,
    }


def _local(args: argparse.Namespace) -> str:
    """Return the options of local mode as they were given."""
    names = [f"--{name} {','.join(getattr(args, name))}" for name in ("only", "never") if getattr(args, name)]
    steps = [] if args.max_steps is None else [f"--max-steps {args.max_steps}"]
    return " ".join(["--mode local", *names, *steps])


def _figures(done: "Restoration") -> tuple[str, ...]:
    trace = done.trace
    expected = (trace.expected_text,) if trace.expected_text else ()
    return expected if trace.psnr_db is None else (*expected, f"PSNR {trace.psnr_db:.2f} dB")
