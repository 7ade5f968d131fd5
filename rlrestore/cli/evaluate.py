"""`rlrestore evaluate`: measure a model on a test set."""

import argparse
import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rlrestore.cli import Subparsers
from rlrestore.cli.arguments import add_precision_argument
from rlrestore.errors import RlrestoreError, UsageError

if TYPE_CHECKING:
    from rlrestore.evaluation.report import Report
    from rlrestore.evaluation.scores import Scores
    from rlrestore.evaluation.testsets import PatchPairs
    from rlrestore.runtime.torch_runtime import TorchRuntime

DESCRIPTION = """\
Measure how well a model restores a test set: PSNR, SSIM, GMSD (0 for equal images, more is worse), a PSNR
that tolerates small shifts, and one that counts most where people look, at the input and after each step,
each the mean over images of the unrounded result, and what the agent did. It never trains. Give one source:

  --data DIR             photographs, from which the protocol's test sets are made: random 63×63 patches,
                         degraded by blur, noise and a real JPEG before they are cut out; a patch above 50 dB
                         is drawn again. The default number takes about half a minute on one core for each
                         mixture and gives the mean gain to about 0.05 dB. --mixture camera has simulated
                         cameras in the place of the protocol: shot and read noise on a mosaic, developed
                         and compressed, against the same without noise and JPEG; --mixture FILE, what a
                         TOML file says.
  --pairs IN_DIR GT_DIR  degraded images and their originals of the same name, of any size; each is restored
                         as `rlrestore restore` does, or as one patch if it is exactly 63×63. In the place of
                         a folder may stand a path with one * in its last part, as 'photos/*_real'
                         'photos/*_mean': what the * stands for is the name. May be given several times;
                         each is a set.
  --npz FILE             uint8 arrays `input` and `gt`, (N, 63, 63, 3), RGB

With --tools it measures the tools instead, without the agent: each by itself, on patches made from --data by
its own distortion alone, and what it costs in parameters, multiply-adds and time. --against sets the tools of
other models beside those of the same name, on the same patches and timed in turn; a model that has none of a
name is measured by whichever of its tools does best on each patch. Times are only good on an idle machine.

With --oracle it measures the agent's choices instead, on patches of --data or --npz: beside a greedy oracle,
which takes at every step the tool that really gains most, and beside the agent without its memory or without
stop, random actions, and the best fixed chain. On the first --subset patches every chain is run. It
also reports when the agent stops too early or too late, and compares its first tool with the best one. The
default numbers take about six minutes on one core for each mixture, the subset most of it.
"""
MIXTURE_NAMES = ("mild", "moderate", "severe")
PATCHES = 1000
TOOL_PATCHES = 500
ORACLE_PATCHES = 500
SEED = 0
GRID = "any"
SUBSET = 100


def add_parser(subparsers: Subparsers) -> None:
    """Add the subcommand to the command line."""
    parser = subparsers.add_parser(
        "evaluate",
        help="measure a model on a test set",
        description=DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    source = parser.add_argument_group("source, one of them")
    source.add_argument("--data", type=Path, metavar="DIR", help="folder of clean photographs")
    source.add_argument(
        "--pairs",
        type=Path,
        nargs=2,
        action="append",
        metavar=("IN_DIR", "GT_DIR"),
        help="folders of image pairs",
    )
    source.add_argument("--npz", type=Path, metavar="FILE", help="file of patch pairs")
    made = parser.add_argument_group("how test sets are made from --data")
    made.add_argument(
        "--mixture",
        "--split",
        metavar="FILE",
        help="what degrades them: a mixture that ships, or a TOML file (default: mild, moderate and severe)",
    )
    made.add_argument(
        "--patches",
        type=int,
        metavar="N",
        help=f"patches of each mixture (default: {PATCHES}, with --oracle {ORACLE_PATCHES}) "
        f"or, with --tools, tool (default: {TOOL_PATCHES})",
    )
    made.add_argument("--seed", type=int, metavar="N", help=f"which patches (default: {SEED})")
    made.add_argument(
        "--grid",
        choices=("any", "aligned"),
        help="where patches begin on the JPEG grid: anywhere, or on a block as the paper's (default: any)",
    )
    parser.add_argument(
        "--model", default="default", metavar="M", help="name or folder (default: the shipped one)"
    )
    parser.add_argument("--tools", action="store_true", help="measure each tool on its own distortion")
    parser.add_argument(
        "--against", nargs="+", metavar="M", help="with --tools: names or folders of models to compare with"
    )
    parser.add_argument(
        "--oracle", action="store_true", help="measure the agent's choices against the best ones"
    )
    parser.add_argument(
        "--subset",
        type=int,
        metavar="K",
        help=f"with --oracle: run every chain on the first K patches, 0 for none (default: {SUBSET})",
    )
    parser.add_argument("--device", default="cpu", metavar="D", help="cpu, cuda, … (default: cpu)")
    add_precision_argument(parser, "float32")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the numbers to this file too")


def run(args: argparse.Namespace) -> int:
    """Measure, print the tables, and write the JSON file if asked to.

    Raises:
        UsageError: Not exactly one source, an option that does not go with it, or bad data.
        RlrestoreError: The JSON file cannot be written; as far as it can be known, before measuring.
    """
    from rlrestore.model_folder import find_model, weights_label

    _check(args)
    if args.tools:
        content = _evaluate_tools(args)
    else:
        content = _evaluate_policy(args) if args.oracle else _evaluate_sets(args)
    if args.json is not None:
        _write(args.json, {"weights": weights_label(find_model(args.model)), **content})
    return 0


def _evaluate_tools(args: argparse.Namespace) -> dict[str, Any]:
    """Print the tools' table; returns what the JSON file holds."""
    from rlrestore.evaluation.testsets import read_photos
    from rlrestore.evaluation.tools import ComparedToolbox, compare_tools

    models = [args.model, *(args.against or ())]
    toolboxes = [ComparedToolbox.load(model, args.device) for model in models]
    made = _made(args)
    report = compare_tools(read_photos(args.data), toolboxes, **made, progress=sys.stderr.isatty())
    print(report.table())
    about = {"model": models[0], "precision": args.precision, "against": models[1:], "data": str(args.data)}
    return {**about, **made, **report.to_json()}


def _evaluate_policy(args: argparse.Namespace) -> dict[str, Any]:
    """Print a table for each set; returns what the JSON file holds."""
    from rlrestore.evaluation.policy import check_chains, compare_with_oracles
    from rlrestore.runtime.torch_runtime import TorchRuntime

    model = TorchRuntime.load(args.model, args.device, args.precision)
    subset = SUBSET if args.subset is None else args.subset
    check_chains(model, subset)
    made, sets = _made(args), {}
    for pairs in _patches(args):
        report = compare_with_oracles(model, pairs, subset, made["seed"], progress=sys.stderr.isatty())
        print(report.table(), end="\n\n")
        sets[report.name] = report.to_json()
    settings = {"npz": str(args.npz)} if args.data is None else {"data": str(args.data), **made}
    return {"model": model.name, "precision": model.precision, **settings, "subset": subset, "sets": sets}


def _evaluate_sets(args: argparse.Namespace) -> dict[str, Any]:
    """Print a table for each set; returns what the JSON file holds."""
    from rlrestore.evaluation.scores import merge, summarise
    from rlrestore.runtime.torch_runtime import TorchRuntime

    model = TorchRuntime.load(args.model, args.device, args.precision)
    all_scores, reports = [], []
    for scores in _measure(model, args):
        all_scores.append(scores)
        reports.append(summarise(scores))
        print(reports[-1].table(), end="\n\n")
    whole = reports[0] if len(reports) == 1 else summarise(merge(all_scores, "all"))
    return _content(args, model, whole, reports)


def _check(args: argparse.Namespace) -> None:
    sources = [name for name in ("data", "pairs", "npz") if getattr(args, name) is not None]
    _check_tools(args, sources)
    _check_oracle(args, sources)
    if len(sources) != 1:
        came = " and ".join(f"--{name}" for name in sources) or "none of them"
        raise UsageError(f"expected one of --data DIR, --pairs IN_DIR GT_DIR and --npz FILE, got {came}")
    strays = [name for name in ("mixture", "patches", "seed", "grid") if getattr(args, name) is not None]
    if strays and sources != ["data"]:
        raise UsageError(
            f"--{strays[0]} says how test sets are made from --data; leave it out with --{sources[0]}"
        )
    if args.patches is not None and args.patches < 1:
        raise UsageError(f"expected --patches to be at least 1, got {args.patches}")
    if args.seed is not None and args.seed < 0:
        raise UsageError(f"expected --seed to be at least 0, got {args.seed}")
    if args.json is not None:
        _check_output(args.json, args.npz)
    if args.mixture is not None:
        from rlrestore.imaging.mixture_files import read_mixture

        read_mixture(args.mixture)  # before photographs are read


def _check_tools(args: argparse.Namespace, sources: list[str]) -> None:
    if not args.tools and args.against is not None:
        raise UsageError("--against compares tools; give --tools with it")
    if args.tools and sources != ["data"]:
        came = " and ".join(f"--{name}" for name in sources) or "no source"
        raise UsageError(f"--tools makes its patches from photographs: expected --data DIR, got {came}")
    if args.tools and args.precision != "float32":
        raise UsageError("--tools measures in float32: leave out --precision")
    if args.tools and args.mixture is not None:
        raise UsageError("--tools gives each tool its own distortion; leave out --mixture")


def _check_oracle(args: argparse.Namespace, sources: list[str]) -> None:
    if args.oracle and args.tools:
        raise UsageError("--oracle measures the agent and --tools the tools: give one of them")
    if args.oracle and "pairs" in sources:
        raise UsageError("--oracle measures on patches: expected --data DIR or --npz FILE, got --pairs")
    if not args.oracle and args.subset is not None:
        raise UsageError("--subset says on how many patches every chain is run; give --oracle with it")
    if args.subset is not None and args.subset < 0:
        raise UsageError(f"expected --subset to be at least 0, got {args.subset}")


def _check_output(path: Path, npz: Path | None) -> None:
    from rlrestore.cli.outputs import refuse_overwriting
    from rlrestore.imaging.io.files import LISTED_SUFFIXES, is_folder, shown

    if is_folder(path) or not is_folder(path.parent):
        raise UsageError(f"expected --json to name a file in an existing folder, got {shown(path)}")
    if path.exists() and not path.is_file():
        raise UsageError(f"expected --json to name a file, {shown(path)} is a device or pipe")
    if not os.access(path.parent, os.W_OK | os.X_OK):
        raise UsageError(f"expected --json in a writable folder, got {shown(path)}; choose another")
    if path.suffix.lower() in LISTED_SUFFIXES:
        raise UsageError(f"expected --json to name a JSON file, got the name of an image, {shown(path)}")
    if npz is not None:
        refuse_overwriting(path, npz, "--json")


def _measure(model: "TorchRuntime", args: argparse.Namespace) -> Iterator["Scores"]:
    from rlrestore.evaluation.file_pairs import pair_files
    from rlrestore.evaluation.scores import measure_files, measure_patches

    progress = sys.stderr.isatty()
    if args.pairs is not None:
        found = [(degraded.name or "pairs", pair_files(degraded, clean)) for degraded, clean in args.pairs]
        twice = [name for number, (name, _) in enumerate(found) if name in dict(found[:number])]
        if twice:
            raise UsageError(f"expected pairs of different names, got {twice[0]!r} twice: rename a folder")
        for name, files in found:  # all were found before the first is measured
            yield measure_files(model, files, name, progress=progress)
    else:
        for pairs in _patches(args):
            yield measure_patches(model, pairs, progress=progress)


def _patches(args: argparse.Namespace) -> "Iterator[PatchPairs]":
    from rlrestore.evaluation.testsets import generate, read_npz, read_photos
    from rlrestore.imaging.mixture_files import read_mixture

    if args.npz is not None:
        yield read_npz(args.npz)
    else:
        photos = read_photos(args.data)
        made = _made(args)
        for name in MIXTURE_NAMES if args.mixture is None else (args.mixture,):
            yield generate(photos, read_mixture(name), made["patches"], made["seed"], made["grid"])


def _made(args: argparse.Namespace) -> dict[str, Any]:
    patches = TOOL_PATCHES if args.tools else ORACLE_PATCHES if args.oracle else PATCHES
    defaults = {"patches": patches, "seed": SEED, "grid": GRID}
    return {
        name: getattr(args, name) if getattr(args, name) is not None else defaults[name] for name in defaults
    }


def _content(
    args: argparse.Namespace, model: "TorchRuntime", whole: "Report", reports: "list[Report]"
) -> dict[str, Any]:
    """The JSON file: the means over all images at the top, and those of each set by its name."""
    settings = {"data": str(args.data), **_made(args)} if args.data is not None else {}
    sets = {report.name: report.to_json() for report in reports}
    return {"model": model.name, "precision": model.precision, **settings, **whole.to_json(), "sets": sets}


def _write(path: Path, content: dict[str, Any]) -> None:
    from rlrestore.imaging.io.atomic import write_atomically

    try:
        write_atomically(path, (json.dumps(content, indent=2) + "\n").encode())
    except OSError as error:
        raise RlrestoreError(f"cannot write {path} ({error.strerror}); choose another --json FILE") from error
