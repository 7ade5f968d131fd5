"""`rlrestore explain`: which pixels a tool's result, or the agent's choice, depends on."""

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING

from rlrestore.cli import Subparsers
from rlrestore.errors import UsageError

if TYPE_CHECKING:
    from rlrestore.explain.explaining import Explanation

DESCRIPTION = """\
Show which pixels a result depends on, by local attribution maps: gradients added up along a path from the
blurred picture to the picture. With --tool, for the edges (or the brightness) that this tool leaves in a
window; without, for the gain that the agent expects there of the tool it values most. Writes
IMG_TOOL_explain.png (IMG_TOOL_brightness_explain.png) or IMG_explain.png, and a JSON file of the same name,
into the folder.
"""
EDGES = "edges"


def add_parser(subparsers: Subparsers) -> None:
    """Add the subcommand to the command line."""
    parser = subparsers.add_parser(
        "explain",
        help="show which pixels a result depends on",
        description=DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("image", metavar="IMG", help="the image")
    parser.add_argument(
        "--at", required=True, type=window, metavar="X,Y,W,H", help="the window: its corner, width and height"
    )
    parser.add_argument("--tool", metavar="NAME", help="explain this tool (default: the agent's choice)")
    parser.add_argument(
        "--detector",
        default=EDGES,
        metavar="NAME",
        help=f"with --tool, what of its result is explained: edges or brightness (default: {EDGES})",
    )
    parser.add_argument("-o", "--out", type=Path, required=True, metavar="FOLDER", help="where to write")
    parser.add_argument("--model", default="default", metavar="M", help="name or folder (default: default)")
    parser.add_argument("--device", default="cpu", metavar="D", help="cpu, cuda, … (default: cpu)")
    parser.add_argument("--json", action="store_true", help="print the JSON")


def window(text: str) -> tuple[int, int, int, int]:
    """Read a window X,Y,W,H."""
    parts = text.split(",")
    if len(parts) != 4 or not all(part.strip().lstrip("-").isdecimal() for part in parts):
        raise argparse.ArgumentTypeError(f"expected four whole numbers X,Y,W,H, got {text!r}")
    x, y, width, height = map(int, parts)
    return x, y, width, height


def run(args: argparse.Namespace) -> int:
    """Explain, and write picture and JSON.

    Raises:
        UsageError: An unknown tool, detector, model or device, a window outside of the picture, no such
            image, or a folder that cannot be written.
        ImageError: What the file holds cannot be read.
    """
    from rlrestore.cli.outputs import check_named, prepare_named, write_file, write_picture
    from rlrestore.imaging.io.files import shown

    if args.out.is_file():
        raise UsageError(f"expected -o to name a folder, {shown(args.out)} is a file")
    check_named(args.image)
    explanation = _explain(args)
    name = _name(args)
    picture, record = args.out / f"{name}.png", args.out / f"{name}.json"
    prepare_named(picture, Path(args.image))
    content = json.dumps({"input": args.image, "model": args.model, **explanation.to_json()}, indent=2)
    write_picture(picture, explanation.picture())
    write_file(record, f"{content}\n".encode())
    print(content if args.json else _summary(explanation, f"{shown(picture)}, {shown(record)}"))
    return 0


def _name(args: argparse.Namespace) -> str:
    """Return what the files are called: what is explained of a photograph has a name of its own."""
    from rlrestore.cli.planning import EXPLAINED_SUFFIX

    detector = f"_{args.detector}" if args.detector != EDGES else ""
    tool = "" if args.tool is None else f"_{args.tool}{detector}"
    return f"{Path(args.image).stem}{tool}{EXPLAINED_SUFFIX}"


def _explain(args: argparse.Namespace) -> "Explanation":
    import torch

    from rlrestore.explain.errors import Box
    from rlrestore.explain.explaining import explain_choice, explain_tool
    from rlrestore.imaging.io.files import read_photo
    from rlrestore.imaging.io.transparency import cover_hidden_
    from rlrestore.inference.photos import to_planes
    from rlrestore.runtime.torch_runtime import TorchRuntime

    photo = read_photo(Path(args.image))
    pixels = to_planes(photo).copy()
    cover_hidden_(pixels, photo.alpha)
    model, image, box = TorchRuntime.load(args.model, args.device), torch.from_numpy(pixels), Box(*args.at)
    if args.tool is None:
        if args.detector != EDGES:
            raise UsageError("--detector says what of a tool's result is explained: give --tool with it")
        return explain_choice(model, image, box)
    return explain_tool(model, image, box, args.tool, args.detector)


def _summary(explanation: "Explanation", files: str) -> str:
    found = explanation.attribution
    chosen = "" if explanation.choice is None else f"the agent chooses {explanation.choice}; "
    return (
        f"{chosen}{explanation.subject}: {found.blurred:.4g} when blurred, {found.sharp:.4g} as it is; "
        f"diffusion index {found.diffusion_index:.1f} -> {files}"
    )
