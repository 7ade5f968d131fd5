"""Make a folder that trains a release on a machine that is lent for some minutes: code, photographs, weights.

    python scripts/prepare_bundle.py --data PHOTOS --out BUNDLE --start default
    bash BUNDLE/train_bundle.sh OUT 8 --device cuda --batch 2048           (on that machine)
    python scripts/prepare_bundle.py --data PHOTOS --out AGAIN --start default --state OUT/state

The machine needs Python with torch, numpy, pillow and safetensors; gymnasium travels along.
Photographs are packed as WebP, by default of quality 92, whose error is far below any degradation that is
trained on; their names stay, and with them the part that is held out. More than 64 MiB are refused.
"""

import argparse
import importlib.util
import shutil
import sys
from pathlib import Path

from PIL import Image

from rlrestore.cli.arguments import positive_int
from rlrestore.cli.reporting import run_script, say
from rlrestore.errors import RlrestoreError, UsageError
from rlrestore.imaging.io.files import list_photos, read_rgb8
from rlrestore.model_folder import CARD, find_model

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = {"rlrestore": "rlrestore", **{name: f"rlrestore/{name}" for name in ("toolbox", "agent", "envs")}}
"""Folders of the tree, and where they lie in one package."""
SCRIPTS = ("train_release.py", "experiments/__init__.py", "experiments/release_state.py")
ALONG = ("gymnasium", "farama_notifications")
"""Packages in pure Python that are copied from this environment."""
QUALITY = 92
MOST_BYTES = 64 * 2**20


def build_parser() -> argparse.ArgumentParser:
    """Return the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", required=True, type=Path, help="folder of photographs to train on")
    parser.add_argument("--out", required=True, type=Path, help="the folder to make; it must not exist yet")
    parser.add_argument("--start", metavar="M", help="begin with this model, a name or folder")
    parser.add_argument(
        "--state",
        type=Path,
        metavar="DIR",
        help="go on from what --pack wrote elsewhere, with --start if that began with a model",
    )
    parser.add_argument("--quality", type=positive_int, default=QUALITY, help=f"of WebP (default: {QUALITY})")
    return parser


def run(args: argparse.Namespace) -> None:
    """Make the folder.

    Raises:
        RlrestoreError: No photographs, no such model or state, `--out` exists or cannot be written, or the
            folder became too large.
    """
    start = None if args.start is None else find_model(args.start)
    if args.state is not None and not (args.state / "release.json").is_file():
        raise UsageError(f"expected a state that --pack wrote in {args.state}, got no release.json there")
    if args.out.exists():
        raise UsageError(f"{args.out} exists already: remove it, or choose another --out")
    try:
        copy_code(args.out)
        count = pack_photos(args.data, args.out / "photos", args.quality)
        if start is not None:
            (args.out / "start").mkdir()
            for name in (CARD, "toolbox.safetensors", "agent.safetensors"):
                shutil.copyfile(start / name, args.out / "start" / name)
        if args.state is not None:
            shutil.copytree(args.state, args.out / "state")
    except OSError as error:
        raise RlrestoreError(f"cannot write {args.out} ({error.strerror}); choose another --out") from error
    size = sum(path.stat().st_size for path in args.out.rglob("*") if path.is_file())
    if size > MOST_BYTES:
        raise RlrestoreError(
            f"expected at most {MOST_BYTES >> 20} MiB, {args.out} has {size / 2**20:.1f}: "
            "give fewer photographs or a lower --quality"
        )
    say(f"wrote {args.out}, {count} photographs, {size / 2**20:.1f} MiB")


def copy_code(out: Path) -> None:
    """Lay the package out as it is installed, without the weights; beside it what it needs."""
    for source, target in PACKAGES.items():
        shutil.copytree(ROOT / source, out / target, ignore=_left_out, dirs_exist_ok=True)
    for name in SCRIPTS:
        (out / "scripts" / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(ROOT / "scripts" / name, out / "scripts" / name)
    shutil.copyfile(ROOT / "scripts/train_bundle.sh", out / "train_bundle.sh")
    for name in ALONG:
        spec = importlib.util.find_spec(name)
        if spec is None or spec.origin is None:
            raise RlrestoreError(f"expected the package {name} here, got none: pip install {name}")
        shutil.copytree(Path(spec.origin).parent, out / "site" / name, ignore=_all_but_python)


def _left_out(_: str, names: list[str]) -> set[str]:
    return {name for name in names if name in ("weights", "page", "__pycache__")}


def _all_but_python(folder: str, names: list[str]) -> set[str]:
    kept = (name for name in names if name.endswith(".py") or (Path(folder) / name).is_dir())
    return set(names) - set(kept) | {"__pycache__"}


def pack_photos(data: Path, out: Path, quality: int) -> int:
    """Write photographs as WebP under their own names; return how many.

    Raises:
        DataError: There is none.
        ImageError: One cannot be read.
    """
    paths = list_photos(data)
    for path in paths:
        packed = out / path.relative_to(data)  # the reader goes by what is in it, the split by its name
        packed.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(read_rgb8(path)).save(packed, "WEBP", quality=quality, method=4)
    return len(paths)


if __name__ == "__main__":
    sys.exit(run_script(build_parser(), run))
