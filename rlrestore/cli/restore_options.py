"""The options of `rlrestore restore`, and what its help says."""

import argparse

from rlrestore.cli.arguments import (
    add_precision_argument,
    add_views_argument,
    names,
    percentage,
    positive_int,
    share,
    thread_count,
)
from rlrestore.cli.shards import shard

FORMATS = ("png", "tif", "webp", "bmp", "ppm", "jpg", "avif")

DESCRIPTION = """\
Restore photographs that are blurred, noisy or JPEG-compressed in any mixture.
Each result is written next to its input as NAME_restored.png unless -o or
--format say otherwise; an input is never overwritten, an earlier result is.
"""
EPILOG = """\
--trace shows what was done and why: a table, NAME_restored.json, and
NAME_restored_trace.png with every step side by side. The gain that the agent
expects is in dB of PSNR, without a reference; stopping gains 0, and is chosen
where no tool is expected to gain enough: of the shipped model 0.5 dB for the
first tool, 1 dB if that is the lightest of its kind, 0.08 dB for further ones.

A search of a folder or pattern leaves out names ending in _restored,
_restored_trace, _restored_try, _inspected, _explain or a shipped tool, as
_denoise-3: the results of earlier runs. Where x.jpg and x.png would have the
same result, they get x_jpg_restored.png and x_png_restored.png.

Exit codes: 0 all done, 1 some image failed (the others are restored all the
same), 2 wrong usage.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what can be asked for."""
    parser.add_argument(
        "inputs",
        nargs="+",
        metavar="IMG|DIR|GLOB",
        help="images, folders with their subfolders, or quoted patterns; - is one image from stdin",
    )
    parser.add_argument(
        "-o",
        "--out",
        metavar="OUT",
        help="a file for one image, else a folder that mirrors the input's; an existing folder or a trailing "
        "slash means a folder, - is stdout (default: beside the input)",
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
        help="one chain for the whole image, or others where its degradation differs (default: global)",
    )
    parser.add_argument(
        "--max-steps", type=positive_int, metavar="N", help="tools to apply at most (default: the model's, 3)"
    )
    parser.add_argument(
        "--chain",
        type=names,
        default=(),
        metavar="TOOLS",
        help="apply these tools in this order, whatever the agent would choose, as denoise-2,deblur-1",
    )
    parser.add_argument(
        "--only",
        type=names,
        default=(),
        metavar="TOOLS",
        help="let the agent choose among these tools or kinds, as noise,deblur-1",
    )
    parser.add_argument(
        "--never", type=names, default=(), metavar="TOOLS", help="leave these tools or kinds out"
    )
    add_views_argument(parser)
    parser.add_argument(
        "--try",
        dest="trying",
        action="store_true",
        help="instead of a result write NAME_restored_try.png: the few best chains side by side, with --mode "
        "local the regions' own among them, each with the option that repeats it",
    )
    parser.add_argument(
        "--strength",
        type=share,
        default=1.0,
        metavar="S",
        help="how much of the change is kept, from 0, the image as it came, to 1 (default: 1)",
    )
    parser.add_argument(
        "--detail",
        type=share,
        default=0.0,
        metavar="D",
        help="how much of the fine detail and grain that was taken away comes back, without the noise, from "
        "0 to 1 (default: 0)",
    )
    parser.add_argument(
        "--upscale",
        type=int,
        choices=(2, 3),
        help="enlarge the restored image so many times, by a tool of its own",
    )
    parser.add_argument(
        "--model", default="default", metavar="M", help="name or folder (default: the shipped one)"
    )
    parser.add_argument("--device", default="cpu", metavar="D", help="cpu, cuda, cuda:1, mps (default: cpu)")
    add_precision_argument(parser)
    parser.add_argument(
        "--format",
        choices=(*FORMATS, "keep"),
        help="of the results that -o does not name (default: png); keep is the format that came in, JPEG at "
        "its quality and subsampling, png where it cannot be written; jpg and avif lose detail, only png, "
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
        "--shard",
        type=shard,
        metavar="I/N",
        help="restore part I of N, divided by the images' names alone, so that N machines share a folder and "
        "need not know of each other",
    )
    parser.add_argument(
        "--watch",
        action="store_true",
        help="go on until Ctrl-C and restore what arrives in the folder; it goes with -o OUT",
    )
    parser.add_argument("--dry-run", action="store_true", help="list what would be done, and do nothing")
    parser.add_argument(
        "--threads", type=thread_count, metavar="N", help="cores to compute on (default: all)"
    )
    parser.add_argument(
        "--workers",
        type=positive_int,
        metavar="N",
        help="images of up to a megapixel that are restored at a time, 170 MB for each, and results that are "
        "written meanwhile; it changes no result (default: one for each core, at least 2; twice as many with "
        "--device)",
    )
    parser.add_argument(
        "--json",
        action="store_true",
        help="print one line of JSON per image to stdout, and nothing else there",
    )
