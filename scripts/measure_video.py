"""How much neighbouring frames of a video differ, before and after, and what memory a long one takes.

    python scripts/measure_video.py --data photos/ --plot docs/video.png
    python scripts/measure_video.py --data photos/ --memory 50 500

The clips are made of pairs of photographs of the validation part: a still scene, a pan, and a cut, each with
blur and with noise that is new in every frame, in H.264. They are restored frame by frame, each frame with
the chain that the agent chooses for it, and scene by scene, as `rlrestore restore` does. --memory restores
still clips of so many frames, each in a process of its own, and prints the largest memory.
"""

import argparse
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from tqdm import tqdm

from experiments.presentation import BLUE, GREEN, VERMILION, markdown_table
from experiments.video_clips import Row, clips_of, degraded, measure, write_frames
from rlrestore.cli.arguments import positive_int
from rlrestore.cli.reporting import run_script
from rlrestore.errors import RlrestoreError
from rlrestore.imaging.io.files import list_photos, read_rgb8
from rlrestore.imaging.patches import choose_part
from rlrestore.restorer import Restorer

LARGEST = """
import sys
from pathlib import Path
from rlrestore.cli.main import main
assert main(["restore", sys.argv[1], "-o", sys.argv[2], "--max-steps", "1"]) == 0
print(int(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0]) / 1000)
"""
HUES = {"as it came": VERMILION, "frame by frame": BLUE, "scene by scene": GREEN}


def build_parser() -> argparse.ArgumentParser:
    """Return the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", required=True, type=Path, help="folder of photographs")
    parser.add_argument("--pairs", type=positive_int, default=3, help="of photographs (default: 3)")
    parser.add_argument("--frames", type=positive_int, default=20, help="of a clip (default: 20)")
    parser.add_argument("--side", type=positive_int, default=192, help="of a frame in pixels (default: 192)")
    parser.add_argument("--blur", type=float, default=1.0, help="σ in pixels (default: 1)")
    parser.add_argument("--noise", type=float, default=20.0, help="σ of 255 (default: 20)")
    parser.add_argument("--memory", type=positive_int, nargs="+", help="clips of so many frames instead")
    parser.add_argument("--plot", type=Path, help="the picture to write")
    parser.add_argument("--model", default="default")
    return parser


def run(args: argparse.Namespace) -> None:
    """Measure and print.

    Raises:
        RlrestoreError: A photograph or a model cannot be read, or a clip not restored.
    """
    photos = choose_part(list_photos(args.data), "validation")
    with tempfile.TemporaryDirectory() as name:
        if args.memory:
            picture = read_rgb8(photos[0])[: args.side, : args.side].astype(float)
            for frames in args.memory:
                print(f"{frames} frames: {_largest_mb(Path(name), picture, frames, args):.0f} MB")
            return
        restorer, rows = Restorer.from_pretrained(args.model), list[Row]()
        rng = np.random.default_rng(0)
        pairs = list(zip(photos[0::2], photos[1::2], strict=False))[: args.pairs]
        for pair in tqdm(pairs, file=sys.stderr, disable=None):
            one, other = (read_rgb8(path).astype(float) for path in pair)
            for clip in clips_of(one, other, args.frames, args.side):
                rows += measure(
                    restorer, clip, lambda frame: degraded(frame, args.blur, args.noise, rng), Path(name)
                )
    print(table(rows))
    if args.plot:
        plot(rows, args.plot)


def _largest_mb(folder: Path, picture: np.ndarray, frames: int, args: argparse.Namespace) -> float:
    rng = np.random.default_rng(0)
    source = folder / f"{frames}.mp4"
    write_frames(source, [degraded(picture, args.blur, args.noise, rng) for _ in range(frames)])
    command = [sys.executable, "-c", LARGEST, str(source), str(folder / "out.mp4")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RlrestoreError(f"the restoration of {frames} frames failed: {done.stderr}")
    return float(done.stdout.splitlines()[-1])


def table(rows: Sequence[Row]) -> str:
    """Return the means over the pairs of photographs, a line for each clip and form."""
    lines = []
    for clip, form in dict.fromkeys((row.clip, row.form) for row in rows):
        some = [row for row in rows if (row.clip, row.form) == (clip, form)]
        apart = np.array([row.differences for row in some])
        chains = "" if form == "as it came" else f"{np.mean([row.chains for row in some]):.1f}"
        cells = (f"{np.nanmean(apart):.2f}", f"{np.nanmax(apart):.2f}", chains)
        lines.append((clip, form, *cells, f"{np.mean([row.psnr_db for row in some]):.2f}"))
    head = ("clip", "restored", "difference, of 255", "largest", "chains", "PSNR, dB")
    return markdown_table([head, *lines])


def plot(rows: Sequence[Row], path: Path) -> None:
    """Draw the differences of each clip of the first pair, frame by frame."""
    from matplotlib.figure import Figure  # drawn without pyplot: no window, no global state

    names = list(dict.fromkeys(row.clip for row in rows))
    figure = Figure(figsize=(3.2 * len(names), 3), layout="constrained")
    for panel, name in zip(figure.subplots(1, len(names), sharey=True), names, strict=True):
        for form, hue in HUES.items():
            row = next(each for each in rows if (each.clip, each.form) == (name, form))
            panel.plot(range(1, len(row.differences) + 1), row.differences, color=hue, label=form)
        panel.set(title=name, xlabel="frame")
    figure.axes[0].set(ylabel="difference to the frame before, of 255", ylim=(0, None))
    figure.axes[0].legend()
    figure.savefig(path, dpi=110)


if __name__ == "__main__":
    sys.exit(run_script(build_parser(), run))
