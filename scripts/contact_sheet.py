"""Contact sheets: photographs before and after restoration, at 100 %, to be looked at.

    python scripts/contact_sheet.py --data real/ --out runs/contact/

Of each photograph the crop in which the first model changed most stands before beside after, with the chain
and the gain that the agent expected; with several models each has its column. Prints a table of the chains,
with a column for a word. Nothing is measured: there is no reference. The sheets hold photographs: write them
where git ignores them, as in runs/.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from experiments.presentation import markdown_table
from rlrestore.cli.arguments import positive_int
from rlrestore.cli.reporting import run_script
from rlrestore.errors import DataError
from rlrestore.imaging.io.files import list_photos, read_rgb8
from rlrestore.picture import Cell, Row, draw_rows, most_changed
from rlrestore.restorer import Restorer
from rlrestore.trace import STOP_NAME, Trace

Pixels = NDArray[np.uint8]


def describe(trace: Trace) -> str:
    """Return the chain with the gain that the agent expected of each tool."""
    steps = [step for step in trace.steps if step.tool != STOP_NAME]
    words = [f"{step.tool} {step.expected_gain_db or 0.0:+.2f} dB" for step in steps]
    return ", ".join(words) or "left alone"


def restored_row(
    name: str, before: Pixels, restorers: Sequence[Restorer], side: int
) -> tuple[Row, list[str]]:
    """Restore one photograph by each model.

    Args:
        name: Of the photograph.
        before: Its pixels `(H, W, 3)`.
        restorers: The models, at least one.
        side: Of the crop at most, in pixels.

    Returns:
        A row of the crop before and after, and each model's chain in words.
    """
    results = [restorer.restore(before, keep_steps=False, keep_original=False) for restorer in restorers]
    after = [np.asarray(result.image) for result in results]
    height, width = (min(side, length) for length in before.shape[:2])
    top, left = most_changed(before, after[0], height, width)
    box = slice(top, top + height), slice(left, left + width)
    chains = [describe(result.trace) for result in results]
    titles = ["before", *(restorer.name for restorer in restorers)]
    captions = ["", *chains]
    crops = [np.ascontiguousarray(pixels[box]) for pixels in (before, *after)]
    cells = [
        Cell(title, (caption,) if caption else (), crop)
        for title, caption, crop in zip(titles, captions, crops, strict=True)
    ]
    return Row(name, tuple(cells)), chains


def run(args: argparse.Namespace) -> None:
    """Restore, write the sheets, and print the table.

    Raises:
        RlrestoreError: There are no photographs, or one cannot be read.
    """
    paths = list_photos(args.data)
    if not paths:
        raise DataError(f"expected photographs in {str(args.data)!r}, got none")
    restorers = [Restorer.from_pretrained(model, args.device) for model in args.models]
    rows, table = [], [["photograph", *args.models, "word"]]
    for path in tqdm(paths, unit="photograph", disable=None):
        name = path.relative_to(args.data).with_suffix("").as_posix()
        row, chains = restored_row(name, read_rgb8(path), restorers, args.side)
        rows.append(row)
        table.append([name, *chains, ""])
    args.out.mkdir(parents=True, exist_ok=True)
    for number, start in enumerate(range(0, len(rows), args.rows), 1):
        part = rows[start : start + args.rows]
        draw_rows(f"Sheet {number}", [], part, args.side).save(args.out / f"sheet_{number:02}.png")
    print(markdown_table(table))


def main() -> int:
    """Run the script."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True, metavar="DIR", help="photographs")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="where the sheets go")
    parser.add_argument("--models", nargs="+", default=["default"], metavar="M", help="names or folders")
    parser.add_argument(
        "--side", type=positive_int, default=360, metavar="PX", help="of crops (default: 360)"
    )
    parser.add_argument("--rows", type=positive_int, default=3, metavar="N", help="a sheet (default: 3)")
    parser.add_argument("--device", default="cpu", metavar="D")
    return run_script(parser, run)


if __name__ == "__main__":
    sys.exit(main())
