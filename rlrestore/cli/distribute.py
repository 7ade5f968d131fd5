"""`rlrestore distribute`: restore folders of millions on a cluster."""

import argparse
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from rlrestore.cli import Subparsers
from rlrestore.cli.arguments import (
    add_precision_argument,
    add_views_argument,
    names,
    percentage,
    positive_float,
    positive_int,
    share,
)
from rlrestore.cli.reporting import report, say
from rlrestore.cli.restore_options import FORMATS
from rlrestore.errors import UsageError, how_to_install

if TYPE_CHECKING:
    from rlrestore.distributed import Outcome, Pool, Settings

PARQUET = ".parquet"
RECORDS = "records.parquet"
"""Folder of the records in that of the results."""

DESCRIPTION = """\
Restore very many images on a cluster of Ray, or on the cores of this machine. What comes of each image,
a failure too, is a row of Parquet; a job that was stopped goes on when the command is given again.
It needs the extra ray.
"""
EPILOG = """\
A name that ends in .parquet is a file of Parquet or a folder of such files: images from it are read from a
column of bytes, and with -o NAME.parquet results are written into such a column. Else the results are files
in OUT, named as restore names them, and the rows are in OUT/records.parquet. All machines must see all paths.

Exit codes: 0 all done, 1 some image failed (the next run tries those again), 2 wrong usage.
"""


def add_parser(subparsers: Subparsers) -> None:
    """Add the subcommand to the command line."""
    parser = subparsers.add_parser(
        "distribute",
        help="restore folders of millions on a cluster",
        description=DESCRIPTION,
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "inputs", nargs="+", metavar="IMG|DIR|GLOB|NAME.parquet", help="images as for restore, or Parquet"
    )
    parser.add_argument(
        "-o", "--out", required=True, metavar="OUT", help="folder of the results, or NAME.parquet"
    )
    _add_restoring(parser)
    _add_pool(parser)


def _add_restoring(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("restoring, as for restore")
    group.add_argument("--model", default="default", metavar="M", help="name or folder")
    add_precision_argument(group)
    group.add_argument("--mode", choices=("global", "local"), default="global")
    group.add_argument("--max-steps", type=positive_int, metavar="N")
    group.add_argument("--only", type=names, default=(), metavar="TOOLS")
    group.add_argument("--never", type=names, default=(), metavar="TOOLS")
    add_views_argument(group)
    group.add_argument("--strength", type=share, default=1.0, metavar="S")
    group.add_argument("--detail", type=share, default=0.0, metavar="D")
    group.add_argument("--format", choices=FORMATS, default=FORMATS[0], help="of the results (default: png)")
    group.add_argument("--quality", type=percentage, metavar="Q")
    group.add_argument(
        "--key", default="input", metavar="COLUMN", help="of Parquet: the images' names, each once"
    )
    group.add_argument("--image", default="image", metavar="COLUMN", help="of Parquet: the images' bytes")


def _add_pool(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("the cluster")
    group.add_argument(
        "--address",
        metavar="A",
        help="auto, ray://HOST:10001, or local for a cluster of this machine alone (default: the one that "
        "RAY_ADDRESS names or that runs here, else local)",
    )
    group.add_argument(
        "--workers",
        type=positive_int,
        metavar="N",
        help="processes, each with a model (default: all that fit)",
    )
    group.add_argument(
        "--cpus", type=positive_float, default=1.0, metavar="N", help="cores of a worker (default: 1)"
    )
    group.add_argument(
        "--gpus",
        type=positive_float,
        metavar="N",
        help="GPUs of a worker; 0.5 lets two workers share one (default: none)",
    )
    group.add_argument(
        "--batch",
        type=positive_int,
        default=16,
        metavar="N",
        help="images that a worker takes at a time, and that are done again if it dies (default: 16)",
    )


def run(args: argparse.Namespace) -> int:
    """Restore every image that can be; return 1 if some could not.

    Raises:
        UsageError: The extra is not installed, or something is missing, unknown or contradictory.
        RlrestoreError: The cluster is gone.
    """
    try:
        from rlrestore.distributed import Pool, Settings
    except ImportError as error:
        raise UsageError(
            f"expected what distribute needs, but {error.name} is missing; {how_to_install('ray')}"
        ) from error
    pool = Pool(args.workers, args.cpus, args.gpus or 0.0, args.batch, args.address)
    asked = ("mode", "max_steps", "only", "never", "views", "strength", "detail")
    options = {name: getattr(args, name) for name in asked}
    device = "cuda" if args.gpus else "cpu"
    _check(args, device)
    settings = Settings(_model(args.model), device, args.precision, f".{args.format}", args.quality, options)
    outcome = (_from_parquet if args.inputs[0].endswith(PARQUET) else _from_files)(args, settings, pool)
    counts = [f"{outcome.restored} of {outcome.total} images restored"]
    counts += [f"{outcome.done_before} done before"] if outcome.done_before else []
    counts += [f"{outcome.failed} failed"] if outcome.failed else []
    counts += [f"{outcome.begun_again} begun again after a worker died"] if outcome.begun_again else []
    counts += [f"{outcome.images_per_s:.2f} a second"] if outcome.images_per_s else []
    each_s = outcome.cpu_seconds / max(1, outcome.restored + outcome.failed)
    counts += [f"{each_s:.3f} s of a core each"] if each_s else []
    say(", ".join(counts))
    return 1 if outcome.failed else 0


def _model(name_or_folder: str) -> str:
    """Return a model as workers find it, which stand in other folders."""
    from rlrestore.model_folder import shipped_models

    return name_or_folder if name_or_folder in shipped_models() else str(Path(name_or_folder).absolute())


def _check(args: argparse.Namespace, device: str) -> None:
    """Refuse what every image would be refused for.

    Raises:
        UsageError: There is no such model, or no such tool in it; a quality for a format without one; or
            Parquet that does not go into Parquet elsewhere.
    """
    from rlrestore.imaging.io.encoding import LOSSY_SUFFIXES
    from rlrestore.inference.choice import make_choice
    from rlrestore.model_folder import find_model
    from rlrestore.model_folder.exported import is_exported
    from rlrestore.runtime import load_runtime

    here = device if is_exported(find_model(args.model)) else "cpu"  # this machine may have no GPU
    make_choice(load_runtime(args.model, here, args.precision).tools.specs, (), args.only, args.never)
    if args.quality is not None and f".{args.format}" not in LOSSY_SUFFIXES:
        raise UsageError(f"--quality goes with jpg, avif and webp, not with {args.format}: leave it out")
    if any(each.endswith(PARQUET) for each in args.inputs):
        if len(args.inputs) > 1 or not args.out.endswith(PARQUET):
            raise UsageError(
                "images from Parquet go into Parquet, one input at a time: write -o NAME.parquet"
            )
        source, out = Path(args.inputs[0]).resolve(), Path(args.out).resolve()
        if source.is_relative_to(out) or out.is_relative_to(source):
            raise UsageError(f"results would lie among the images of {args.inputs[0]}: choose another --out")


def _from_files(args: argparse.Namespace, settings: "Settings", pool: "Pool") -> "Outcome":
    """Restore files, into files or into Parquet."""
    from rlrestore.cli.planning import find_images, make_plan
    from rlrestore.distributed import restore_files

    if args.out.endswith(PARQUET):
        found, refused = find_images(args.inputs)
        sources, outputs, records = [image.path for image in found], None, Path(args.out)
    else:
        plan = make_plan(args.inputs, f"{args.out.rstrip('/')}/", suffix=settings.suffix)
        sources, outputs = [job.source for job in plan.jobs], [job.output for job in plan.jobs]
        refused, records = list(plan.refused), Path(args.out) / RECORDS
    for each in refused:
        report(each.problem)
    with _watched(len(sources)) as watch:
        outcome = restore_files(sources, outputs, records, settings, pool, watch)
    outcome.total += len(refused)
    outcome.failed += len(refused)
    return outcome


def _from_parquet(args: argparse.Namespace, settings: "Settings", pool: "Pool") -> "Outcome":
    """Restore images of Parquet into Parquet."""
    from rlrestore.distributed import restore_parquet

    with _watched(None) as watch:
        return restore_parquet(
            Path(args.inputs[0]), Path(args.out), settings, pool, watch, args.key, args.image
        )


@contextmanager
def _watched(total: int | None) -> Iterator[Callable[[str, str | None], None]]:
    """Show a bar; yield what is to be told of each image."""
    from tqdm import tqdm

    from rlrestore.imaging.io.files import shown

    def watch(source: str, error: str | None) -> None:
        if error is not None:
            say(f"error: {shown(source)}: {error}")
        bar.update()

    with tqdm(total=total, unit="image", disable=None, file=sys.stderr) as bar:
        yield watch
