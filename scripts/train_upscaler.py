"""Train the tool that enlarges, for `rlrestore restore --upscale`.

    python scripts/train_upscaler.py --data PHOTOS --out CLEAN --steps 8000
    python scripts/train_upscaler.py --data PHOTOS --out FOLDER --start CLEAN --restored 150 --steps 1500

FOLDER is a model's folder, or any other; the tool is one file in it, `upscaler.safetensors`. With --restored
the model first restores so many small photographs of each scale, which every other batch is drawn from; they
are kept in FOLDER. A training that was stopped goes on where it was.
"""

import argparse
import logging
import shlex
import sys
from pathlib import Path

import numpy as np
import safetensors.torch
import torch
from torch import Tensor
from tqdm import tqdm

from rlrestore.cli.arguments import natural, positive_float, positive_int
from rlrestore.cli.outputs import prepare_folder
from rlrestore.cli.reporting import run_script
from rlrestore.devices import resolve_device
from rlrestore.imaging.degradation import ANY, degrade
from rlrestore.imaging.io.atomic import write_atomically
from rlrestore.imaging.patches import PhotoBank
from rlrestore.model_folder.card import Record
from rlrestore.model_folder.upscaler import SCALES, find_upscaler, read_upscaler
from rlrestore.restorer import Restorer
from rlrestore.toolbox.checkpoint import Checkpoint
from rlrestore.toolbox.trainer import Budget, Trainer
from rlrestore.toolbox.training import TRAINING_FOLDER
from rlrestore.toolbox.upscale_training import Pairs, UpscaleSettings, UpscaleTraining, reduce
from rlrestore.toolbox.upscaler import load_upscaler, save_upscaler

SIDE = 80
"""Of the small photographs that are restored, in pixels."""
HELD_OUT = 48


def build_parser() -> argparse.ArgumentParser:
    """Return the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", required=True, type=Path, help="folder of photographs to train on")
    parser.add_argument("--out", required=True, type=Path, help="the folder to write into")
    budget = parser.add_mutually_exclusive_group(required=True)
    budget.add_argument("--minutes", type=positive_float)
    budget.add_argument("--steps", type=positive_int)
    parser.add_argument(
        "--restored", type=natural, default=0, help="restored photographs of each scale (default: none)"
    )
    parser.add_argument("--start", type=Path, help="a folder with a tool to begin with")
    parser.add_argument("--model", default="default", help="what restores them (default: default)")
    parser.add_argument("--device", default="cpu")
    return parser


def _kept_pairs(
    path: Path, bank: PhotoBank, validation: PhotoBank, args: argparse.Namespace
) -> dict[str, tuple[Tensor, Tensor]]:
    """Return the restored photographs by scale, and those that are held out, made once."""
    if not path.exists():
        restorer = Restorer.from_pretrained(args.model, args.device)
        made: dict[str, Tensor] = {}
        for scale in SCALES:
            for name, photos, count in (("", bank, args.restored), (" held out", validation, HELD_OUT)):
                if count:
                    small, large = restored_photos(restorer, photos, scale, count)
                    made |= {f"{scale}{name} small": small, f"{scale}{name} large": large}
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, safetensors.torch.save(made))
    stored = safetensors.torch.load(path.read_bytes())
    names = [name.removesuffix(" small") for name in stored if name.endswith(" small")]
    return {name: (stored[f"{name} small"], stored[f"{name} large"]) for name in names}


def restored_photos(restorer: Restorer, bank: PhotoBank, scale: int, count: int) -> tuple[Tensor, Tensor]:
    """Return photographs that were made smaller, degraded and restored, and what they were.

    Args:
        restorer: The model.
        bank: The photographs.
        scale: How many times smaller.
        count: How many.
    """
    generator = torch.Generator().manual_seed(scale)
    large = bank.crops(count, scale * SIDE, generator)
    degraded = degrade(reduce(large, scale), ANY.sample(count, generator), generator)
    pictures = tqdm((255 * degraded).round().byte().permute(0, 2, 3, 1).numpy(), disable=None)
    results = [restorer.restore(picture, keep_steps=False).photo.pixels for picture in pictures]
    return torch.from_numpy(np.stack(results)).permute(0, 3, 1, 2).contiguous(), large


def run(args: argparse.Namespace) -> None:
    """Train it, go on where it was stopped, and write it.

    Raises:
        RlrestoreError: No such device or photographs, or a checkpoint of another training.
    """
    device = resolve_device(args.device)
    prepare_folder(args.out)
    settings = UpscaleSettings()
    side = max(SCALES) * SIDE
    bank, validation = (
        PhotoBank.from_folder(args.data, part, smallest_side=side, device=device)
        for part in ("train", "validation")
    )
    kept = args.out / TRAINING_FOLDER / "restored.safetensors"
    pairs = {scale: Pairs(*sides) for scale, sides in _kept_pairs(kept, bank, validation, args).items()}
    restored = {scale: pairs[f"{scale}"] for scale in SCALES if f"{scale}" in pairs}
    training = UpscaleTraining(settings, bank, restored)
    records: tuple[Record, ...] = ()
    if args.start is not None:
        records = read_upscaler(find_upscaler(args.start)).training
        training.begin_with(load_upscaler(args.start, device))
    trainer = Trainer(training, Checkpoint(args.out / TRAINING_FOLDER / training.name), "either")
    trainer.run(Budget(args.minutes, args.steps))
    gains_db = {}
    for scale in SCALES:
        gains_db[f"{scale}"] = training.gain_db(training.clean_pairs(validation, scale))
        gains_db[f"{scale}, restored"] = training.gain_db(pairs[f"{scale} held out"])
    print(*(f"×{name}: {gain_db:+.2f} dB over Lanczos" for name, gain_db in gains_db.items()), sep="\n")
    record: Record = {
        "command": shlex.join(["python", *sys.argv]),
        "data": f"{len(bank)} photographs (scales counted)",
        **trainer.spent(),
        "device": args.device,
        "seed": settings.seed,
        "gain_over_lanczos_db": {name: round(gain_db, 3) for name, gain_db in gains_db.items()},
    }
    save_upscaler(args.out, training.average, [*records, record])


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    sys.exit(run_script(build_parser(), run))
