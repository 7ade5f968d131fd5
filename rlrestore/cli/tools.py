"""`rlrestore tools`: list the tools, or apply one by hand."""

import argparse
from collections.abc import Sequence
from pathlib import Path

from rlrestore.cli import Subparsers
from rlrestore.errors import UsageError
from rlrestore.toolbox.specs import TOOLS, ToolSpec

DISTORTIONS = {
    "blur": ("Gaussian blur", "σ {low:g} to {high:g} px"),
    "noise": ("Gaussian noise", "σ {low:g} to {high:g} of 255"),
    "jpeg": ("JPEG", "quality {low:g} to {high:g}"),
    "mixture": ("all three", "levels {low:g} to {high:g}"),
}
"""By distortion: what it is called, and how its range is written."""


def add_parser(subparsers: Subparsers) -> None:
    """Add the subcommand to the command line."""
    parser = subparsers.add_parser(
        "tools",
        help="list the tools, or apply one by hand",
        description="List the tools; with a tool's name and an image, apply that tool once.",
    )
    parser.add_argument("tool", nargs="?", metavar="NAME", help="a tool, such as denoise-3")
    parser.add_argument("image", nargs="?", metavar="IMG", help="the image to apply it to")
    parser.add_argument(
        "-o", "--out", metavar="OUT", help="the file to write (default: IMG_NAME.png by the input)"
    )
    parser.add_argument(
        "--model",
        metavar="M",
        help="name or folder; its tools are listed with their parameters (default: the shipped one)",
    )
    parser.add_argument("--device", default="cpu", metavar="D", help="cpu, cuda, cuda:1, mps (default: cpu)")


def run(args: argparse.Namespace) -> int:
    """List the tools or apply one.

    Raises:
        UsageError: An unknown tool, model or device, a tool without an image, or a path that cannot be
            opened or written.
        ImageError: The image cannot be read or the result not written.
    """
    if args.tool is None:
        print(_listing(args.model))
        return 0
    if args.image is None:
        raise UsageError(f"expected an image to apply {args.tool} to: rlrestore tools {args.tool} IMG -o OUT")
    return _apply(args)


def _listing(model: str | None) -> str:
    if model is None:
        return table(TOOLS)
    from rlrestore.model_folder import find_model, read_toolbox
    from rlrestore.model_folder.exported import is_exported, read_exported

    folder = find_model(model)
    if is_exported(folder):
        return table(read_exported(folder).toolbox.tools)
    entry, weights = read_toolbox(folder)
    parameters = [0] * len(entry.tools)
    for name, array in weights.items():
        if array.dtype.kind == "f":  # an ONNX file is bytes
            parameters[int(name.split(".")[0])] += array.size
    return table(entry.tools, parameters)


def table(specs: Sequence[ToolSpec], parameters: Sequence[int] | None = None) -> str:
    """Return the tools as a table, with their numbers of parameters where they are known."""
    rows = [["tool", "undoes", "range", "layers", *(["parameters"] if parameters else [])]]
    for index, spec in enumerate(specs):
        distortion, scale = DISTORTIONS[spec.distortion]
        row = [spec.name, distortion, scale.format(low=spec.low, high=spec.high), str(spec.depth)]
        rows.append([*row, *([f"{parameters[index]:,}"] if parameters else [])])
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    rows.insert(1, ["-" * width for width in widths])
    lines = ("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in rows)
    return "\n".join(line.rstrip() for line in lines)


def _apply(args: argparse.Namespace) -> int:
    from rlrestore.cli.outputs import check_named, prepare_named
    from rlrestore.cli.reporting import say_notes
    from rlrestore.imaging.io.files import read_photo, shown, write_photo
    from rlrestore.imaging.io.holding import check_holds
    from rlrestore.inference.by_hand import apply_by_hand, check_tool
    from rlrestore.runtime import load_tools

    source = Path(args.image)
    check_named(source)
    tools = load_tools(args.model or "default", args.device)
    check_tool(tools, args.tool)
    photo = read_photo(source)
    output = Path(args.out) if args.out else source.with_name(f"{source.stem}_{args.tool}.png")
    prepare_named(output, source)
    check_holds(photo, output.suffix.lower(), shown(output))
    lost = write_photo(output, apply_by_hand(tools, args.tool, photo))
    say_notes(source, (*photo.notes, *lost))
    print(f"{shown(source)} -> {shown(output)}: {args.tool}")
    return 0
