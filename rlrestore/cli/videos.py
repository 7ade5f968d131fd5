"""Videos among what `rlrestore restore` is given."""

import argparse
import json
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rlrestore.cli.reporting import print_whole, say_notes
from rlrestore.cli.restore_report import Tally, fail
from rlrestore.errors import UsageError

if TYPE_CHECKING:
    from rlrestore.cli.planning import Job, Plan
    from rlrestore.restorer import Restorer
    from rlrestore.video.restoring import SceneRestoration, VideoRestoration

REFUSED = {"reference": "--reference", "trying": "--try", "format": "--format"}
FEW_SCENES = 3
"""So many are told one by one."""


def check_videos(plan: "Plan", args: argparse.Namespace) -> None:
    """Make sure that what was asked for goes with the videos among the inputs.

    Raises:
        UsageError: It does not.
    """
    if not any(job.is_video for job in plan.jobs):
        return
    asked = [option for name, option in REFUSED.items() if getattr(args, name)]
    asked += ["--mode local"] if args.mode == "local" else []
    asked += ["--upscale"] if args.upscale else []
    if asked:
        raise UsageError(f"{asked[0]} does not go with a video: leave it out")


def restore_videos(
    restorer: "Restorer", jobs: "Sequence[Job]", args: argparse.Namespace, tally: Tally
) -> None:
    """Restore videos one after another, and report each.

    Raises:
        UsageError: Wrong options, which no video goes with.
    """
    for job in jobs:
        try:
            done = _restored(restorer, job, args)
        except UsageError:
            raise
        except Exception as error:  # noqa: BLE001  # of this video; the others are restored all the same
            fail(job.source, error, args, tally)
        else:
            changed = any(scene.trace.tools for scene in done.scenes)
            tally.restored, tally.unchanged = tally.restored + changed, tally.unchanged + (not changed)
            _tell(job, done, args)


def check_video_output(output: Path) -> None:
    """Make sure that a video could be written to a path.

    Raises:
        ImageError: Its name is no video's, or `check_place` refuses it.
    """
    from rlrestore.imaging.io.files import check_place
    from rlrestore.video.library import check_video_name

    check_video_name(output)
    check_place(output)


def _restored(restorer: "Restorer", job: "Job", args: argparse.Namespace) -> "VideoRestoration":
    from rlrestore.cli.outputs import prepare_output, write_file
    from rlrestore.video.restoring import restore_video

    prepare_output(job.output, check_video_output)
    done = restore_video(
        job.source,
        job.output,
        restorer,
        max_steps=args.max_steps,
        chain=args.chain,
        only=args.only,
        never=args.never,
        views=args.views,
        strength=args.strength,
        detail=args.detail,
        quality=args.quality,
        progress=True,
    )
    if args.trace:
        write_file(job.trace_json, f"{json.dumps(_record(job, done, args), indent=2)}\n".encode())
    return done


def _tell(job: "Job", done: "VideoRestoration", args: argparse.Namespace) -> None:
    from rlrestore.imaging.io.files import shown

    say_notes(job.source, done.notes)
    if args.json:
        line = json.dumps(_record(job, done, args))
    else:
        line = f"{shown(job.source)} -> {shown(job.output)}: {_summary(done)}"
        if args.trace:
            tables = (f"{_place(scene)}\n{scene.trace.table()}" for scene in done.scenes)
            line = "\n".join((line, *tables, f"trace: {shown(job.trace_json)}"))
    print_whole(line, sys.stdout)


def _summary(done: "VideoRestoration") -> str:
    """Return what was done, as in `250 frames, 2 scenes: denoise-3 > deblur-1; unchanged`."""
    chains = [" > ".join(scene.trace.tools) or "unchanged" for scene in done.scenes]
    if len(chains) > FEW_SCENES:
        chains = [f"{chain} {count}×" for chain, count in Counter(chains).most_common()]
    return f"{_count(done.frames, 'frame')}, {_count(len(done.scenes), 'scene')}: {'; '.join(chains)}"


def _count(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


def _place(scene: "SceneRestoration") -> str:
    begins = {"start": "", "cut": " after a cut", "change": " after a lasting change"}[scene.begins]
    flickering = f"; would flicker: {', '.join(scene.flickering)}" if scene.flickering else ""
    return f"scene at {scene.start_s:.2f} s{begins}, {_count(scene.frames, 'frame')}{flickering}"


def _record(job: "Job", done: "VideoRestoration", args: argparse.Namespace) -> dict[str, Any]:
    """Return what JSON says of a video: times in seconds, differences in steps of 8 bits."""
    files = {"input": str(job.source), "output": str(job.output)}
    files |= {"trace_json": str(job.trace_json)} if args.trace else {}
    notes = {"notes": list(done.notes)} if done.notes else {}
    scenes = [_scene_record(scene) for scene in done.scenes]
    return {**files, **notes, "device": args.device, "frames": done.frames, "scenes": scenes}


def _scene_record(scene: "SceneRestoration") -> dict[str, Any]:
    def steps(difference: float | None) -> float | None:
        return None if difference is None else round(255 * difference, 3)

    return {
        "first_frame": scene.first,
        "frames": scene.frames,
        "start_s": round(scene.start_s, 3),
        "begins": scene.begins,
        "still_difference_255": steps(scene.difference_before),
        "restored_difference_255": steps(scene.difference_after),
        "flickering": list(scene.flickering),
        **scene.trace.to_json(),
    }
