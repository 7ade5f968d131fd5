"""Draw the chains in `docs/`: input, every step and result beside a single network and the authors' model.

    python scripts/make_strips.py --data div2k_valid_256/ --out docs --single single/ --authors paper/

Every photograph is degraded once for each mixture, and restored in global mode. `chains_MIXTURE.png` shows
those that a rule selects by the gains of all (`scripts/experiments/strips.py`), the failures among them;
`strip.png` shows that of median gain of each mixture. --single is a model folder with one tool, as
`scripts/train_single.py` writes it, --authors one that `rlrestore import-paper` writes; without them their
cells are left out.
"""

import argparse
import io
import sys
from collections.abc import Mapping
from pathlib import Path

from PIL import Image

from experiments import strips
from experiments.comparison_sets import Pixels, draw_degradation
from rlrestore.cli.arguments import positive_int, seed_number
from rlrestore.cli.reporting import run_script, say
from rlrestore.devices import resolve_device
from rlrestore.errors import ModelError, UsageError
from rlrestore.evaluation.testsets import read_photos
from rlrestore.imaging.degradation.mixtures import MIXTURES, Mixture
from rlrestore.imaging.io.atomic import write_atomically
from rlrestore.imaging.io.files import list_photos
from rlrestore.restorer import Restorer
from rlrestore.toolbox.storage import load_toolbox

SINGLE, AUTHORS = "single network", "authors' model"


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True, metavar="DIR", help="folder of clean photographs")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="where the pictures go")
    parser.add_argument("--model", default="default", metavar="M", help="name or folder (default: default)")
    parser.add_argument("--single", type=Path, metavar="DIR", help="model folder with one tool")
    parser.add_argument("--authors", type=Path, metavar="DIR", help="the authors' model, imported")
    parser.add_argument(
        "--seed", type=seed_number, default=0, metavar="N", help="of the degradations (default: 0)"
    )
    parser.add_argument("--limit", type=positive_int, metavar="N", help="only the first N photographs")
    parser.add_argument("--device", default="cpu", metavar="D", help="cpu, cuda, … (default: cpu)")
    return parser


def read_restorers(args: argparse.Namespace) -> dict[str, strips.PhotoRestorer]:
    """Read the models, by the names that the pictures give them; say which are missing.

    Raises:
        ModelError: One is damaged, or the single network is more than one tool.
    """
    ours = Restorer.from_pretrained(args.model, args.device)
    restorers = {f"model {Path(args.model).resolve().name}": strips.agent_restorer(ours)}
    if args.single is not None:
        toolbox = load_toolbox(args.single, resolve_device(args.device))
        if len(toolbox.specs) != 1:
            raise ModelError(
                f"expected one tool in {args.single}, got {', '.join(toolbox.names)}; "
                "give a folder that scripts/train_single.py wrote"
            )
        restorers[SINGLE] = strips.network_restorer(toolbox)
    if args.authors is not None:
        restorers[AUTHORS] = strips.agent_restorer(Restorer.from_pretrained(args.authors, args.device))
    for option, name in (("--single", SINGLE), ("--authors", AUTHORS)):
        if name not in restorers:
            say(f"no {option}: the cells of the {name} are left out")
    return restorers


def save(picture: Image.Image, path: Path) -> None:
    """Write a picture as PNG, whole or not at all."""
    stream = io.BytesIO()
    picture.save(stream, "PNG", optimize=True)
    write_atomically(path, stream.getvalue())
    print(f"{path}: {picture.width}×{picture.height} pixels, {len(stream.getvalue()) / 1e6:.2f} MB")


def choose_rows(
    photos: Mapping[str, Pixels], mixture: Mixture, restorers: strips.PhotoRestorers, seed: int
) -> tuple[strips.Gains, dict[strips.Choice, strips.RestoredPhoto]]:
    """Measure every photograph of one mixture; return the gains, and the selected photographs."""
    names, pixels = list(photos), list(photos.values())
    gains = strips.measure_gains(pixels, mixture, seed, restorers, sys.stderr.isatty())
    shown = {}
    for choice in gains.choose():
        degradation = draw_degradation(mixture, seed, choice.index)
        shown[choice] = strips.restore_photo(
            names[choice.index], pixels[choice.index], degradation, restorers
        )
    return gains, shown


def make(args: argparse.Namespace) -> None:
    """Measure, choose, and draw every picture.

    Raises:
        RlrestoreError: The photographs or a model cannot be read, or the pictures not be written.
    """
    try:
        args.out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"cannot write into {args.out} ({error.strerror}); choose another folder") from error
    restorers = read_restorers(args)
    names = [path.relative_to(args.data).as_posix() for path in list_photos(args.data)]
    photos = dict(list(zip(names, read_photos(args.data), strict=True))[: args.limit])
    source = strips.PhotoSet(args.data.resolve().name, len(photos), args.seed)
    medians: dict[str, strips.RestoredPhoto] = {}
    figures: list[str] = []
    for mixture in MIXTURES.values():
        gains, shown = choose_rows(photos, mixture, restorers, args.seed)
        figures.append(f"{mixture.name}: {gains.means()}")
        print(figures[-1], flush=True)
        rows = {f"{choice.why}: {photo.what}": photo for choice, photo in shown.items()}
        picture = strips.draw(
            f"The {mixture.name} mixture", strips.chains_legend(source, mixture.name, gains), rows
        )
        save(picture, args.out / f"chains_{mixture.name}.png")
        medians |= {
            f"{mixture.name}: {photo.what}": photo
            for choice, photo in shown.items()
            if strips.MEDIAN in choice.reasons
        }
    legend = strips.medians_legend(source, figures)
    save(strips.draw("Chains of three mixtures", legend, medians), args.out / "strip.png")


def main() -> int:
    """Draw the pictures; print a user error in one line."""
    return run_script(build_parser(), make)


if __name__ == "__main__":
    sys.exit(main())
