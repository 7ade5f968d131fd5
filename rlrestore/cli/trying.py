"""`rlrestore restore --try`: the few best chains of one image side by side, and how to repeat each."""

import argparse
from collections.abc import Iterator
from typing import TYPE_CHECKING

from rlrestore.cli.reporting import say_notes
from rlrestore.errors import UsageError

if TYPE_CHECKING:
    from rlrestore.cli.planning import Plan
    from rlrestore.imaging.io.photo import Photo
    from rlrestore.inference.restoration import Restoration
    from rlrestore.restorer import Restorer

RUNNERS_UP = 2


def check_trying(plan: "Plan", args: argparse.Namespace) -> None:
    """Make sure that what was asked for goes with `--try`.

    Raises:
        UsageError: It does not.
    """
    if plan.total != 1:
        raise UsageError("--try goes with one image: try them one by one")
    if args.chain or args.mode != "global" or args.trace or args.format or args.quality:
        raise UsageError(
            "--try goes with none of --chain, --mode local, --trace, --format and --quality: leave them out"
        )


def try_chains(restorer: "Restorer", plan: "Plan", args: argparse.Namespace) -> None:
    """Write the picture of one image, and print the chains.

    Raises:
        RlrestoreError: The image cannot be read or the picture not written.
    """
    from rlrestore.cli.outputs import prepare_output, write_picture
    from rlrestore.imaging.io.files import read_photo, shown
    from rlrestore.inference.photos import to_frame, to_planes
    from rlrestore.picture import Panel, draw

    if plan.refused:
        raise plan.refused[0].problem
    (job,) = plan.jobs
    prepare_output(job.try_picture)
    photo = read_photo(job.source)
    panels: dict[str, Panel] = {}
    for name, done in _attempts(restorer, photo, args):
        if done.trace.tools:
            option, figures = f"--chain {','.join(done.trace.tools)}", _figures(done)
            panels.setdefault(option, Panel(to_frame(to_planes(done.photo)), option, (name, *figures)))
    panels["--strength 0"] = Panel(to_frame(to_planes(photo)), "--strength 0", ("unchanged",))
    write_picture(job.try_picture, draw(list(panels.values()), compare=(len(panels) - 1, 0)))
    say_notes(job.source, photo.notes)
    print(f"{shown(job.source)} -> {shown(job.try_picture)}")
    for option, panel in panels.items():
        print(f"  {option}: {', '.join(panel.caption)}")


def _attempts(
    restorer: "Restorer", photo: "Photo", args: argparse.Namespace
) -> Iterator[tuple[str, "Restoration"]]:
    """Yield the chains to compare, the agent's first; one without a tool is the unchanged image."""

    def restored(**options: object) -> "Restoration":
        asked = {"only": args.only, "never": args.never, "max_steps": args.max_steps, **options}
        shares = {"strength": args.strength, "detail": args.detail}
        options = {"keep_steps": False, "keep_original": False} | shares | asked
        return restorer.restore(photo, args.reference, **options)  # type: ignore[arg-type]  # of its own

    best = restored()
    yield "the agent's choice", best
    names = [best.trace.steps[0].tool, *(name for name, _ in best.trace.steps[0].runners_up)]
    tools = [name for name in names if name in restorer.runtime.tools.names]
    if best.trace.tools:  # else the best tools are those that it thinks gain too little
        for count in range(1, min(RUNNERS_UP + 1, len(tools))):
            yield f"without {' and '.join(tools[:count])}", restored(never=(*args.never, *tools[:count]))
    for name in [] if best.trace.tools else tools[:RUNNERS_UP]:
        yield f"{name} all the same", restored(chain=(name,), only=(), never=(), max_steps=None)
    if len(best.trace.tools) > 1:
        fewer = best.trace.tools[:-1]
        yield "one tool fewer", restored(chain=fewer, only=(), never=(), max_steps=None)


def _figures(done: "Restoration") -> tuple[str, ...]:
    trace = done.trace
    expected = () if trace.expected_gain_db is None else (f"expected {trace.expected_gain_db:+.2f} dB",)
    return expected if trace.psnr_db is None else (*expected, f"PSNR {trace.psnr_db:.2f} dB")
