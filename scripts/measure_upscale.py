"""The tool that enlarges, against Lanczos and bicubic: the table of docs/upscale.md.

    python scripts/measure_upscale.py --data kodak24/

Every photograph is made smaller by a bicubic filter and enlarged again: as it is, and after it was degraded
and restored: by one distortion of the lightest tools' ranges (light), and by the mild and the moderate
mixture.
"""

import argparse
import sys
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from tqdm import tqdm

from experiments.presentation import markdown_table
from rlrestore.cli.reporting import run_script
from rlrestore.imaging.degradation import MILD, MODERATE, Mixture, degrade
from rlrestore.imaging.io.files import list_photos, read_rgb8
from rlrestore.imaging.metrics import psnr_db, ssim
from rlrestore.imaging.recipes import SingleDistortions
from rlrestore.model_folder import find_model
from rlrestore.model_folder.upscaler import SCALES
from rlrestore.restorer import Restorer
from rlrestore.toolbox.specs import TOOLS
from rlrestore.toolbox.upscale_training import reduce
from rlrestore.toolbox.upscaler import Upscaler, enlarge, load_upscaler

LIGHT = SingleDistortions(tuple(spec for spec in TOOLS if spec.name.endswith("-1")))
CONDITIONS: Mapping[str, Mixture | SingleDistortions | None] = {
    "clean": None,
    "light, restored": LIGHT,
    "mild, restored": MILD,
    "moderate, restored": MODERATE,
}


def build_parser() -> argparse.ArgumentParser:
    """Return the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", required=True, type=Path, help="folder of photographs")
    parser.add_argument("--model", default="default", help="what restores and enlarges (default: default)")
    return parser


def run(args: argparse.Namespace) -> None:
    """Measure and print.

    Raises:
        RlrestoreError: A photograph or the model cannot be read.
    """
    network, restorer = load_upscaler(find_model(args.model)), Restorer.from_pretrained(args.model)
    found: dict[tuple[int, str, str], list[tuple[float, float]]] = {}
    for number, path in enumerate(tqdm(list_photos(args.data), file=sys.stderr, disable=None)):
        whole = torch.from_numpy(read_rgb8(path).transpose(2, 0, 1).copy())[None].float() / 255
        for scale in SCALES:
            large = whole[..., : whole.shape[-2] // scale * scale, : whole.shape[-1] // scale * scale]
            for condition, mixture in CONDITIONS.items():
                small = _small(large, scale, mixture, restorer, number)
                for method, result in _enlarged(network, small, scale).items():
                    clipped = result.clamp(0, 1)
                    values = float(psnr_db(clipped, large)), float(ssim(clipped, large))
                    found.setdefault((scale, condition, method), []).append(values)
    print(table(found))


def _small(
    large: Tensor, scale: int, mixture: Mixture | SingleDistortions | None, restorer: Restorer, seed: int
) -> Tensor:
    """Return a photograph made smaller, degraded by a mixture if there is one, and restored."""
    small = reduce(large, scale)
    if mixture is None:
        return small
    generator = torch.Generator().manual_seed(seed)
    degraded = degrade(small, mixture.sample(1, generator), generator)
    picture = (255 * degraded[0]).round().byte().permute(1, 2, 0).numpy()
    pixels = restorer.restore(picture, keep_steps=False).photo.pixels
    return torch.from_numpy(pixels.transpose(2, 0, 1).copy())[None]


@torch.inference_mode()
def _enlarged(network: Upscaler, small: Tensor, scale: int) -> dict[str, Tensor]:
    return {
        "bicubic": F.interpolate(small, scale_factor=scale, mode="bicubic"),
        "Lanczos": enlarge(small, scale),
        "`--upscale`": network(small, scale),
    }


def table(found: Mapping[tuple[int, str, str], list[tuple[float, float]]]) -> str:
    """Return the means, the gain over Lanczos, and that of the photograph that gains least."""
    rows = [("scale", "input", "enlarged by", "PSNR, dB", "SSIM", "over Lanczos, dB", "least, dB")]
    for (scale, condition, method), values in found.items():
        ours, plain = np.array(values), np.array(found[scale, condition, "Lanczos"])
        gains_db = (ours - plain)[:, 0]
        gain = () if method == "Lanczos" else (f"{gains_db.mean():+.2f}", f"{gains_db.min():+.2f}")
        means = f"{ours[:, 0].mean():.2f}", f"{ours[:, 1].mean():.4f}"
        rows.append((f"×{scale}", condition, method, *means, *(gain or ("", ""))))
    return markdown_table(rows)


if __name__ == "__main__":
    sys.exit(run_script(build_parser(), run))
