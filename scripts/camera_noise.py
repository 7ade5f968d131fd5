"""Real cameras' noise beside the simulated one, on flat parts: the figure and the table of docs/camera.md.

    python scripts/camera_noise.py --data real-noise/ --photos PHOTOS --out docs/

`--data` holds pairs of files, `CAMERA_..._real` (one shot) and `CAMERA_..._mean` (the mean of many).
`--photos` holds clean photographs, each of which is taken once by a simulated camera as training draws it, in
focus and not scaled down. All are saved by a last JPEG of the same quality, as those of the pairs were. Only
statistics are written, no photograph.
"""

import argparse
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from experiments.noise_plot import noise_table, plot_noise
from experiments.noise_statistics import NoiseStatistics, measure_noise, measure_pairs
from rlrestore.cli.arguments import percentage, positive_int
from rlrestore.imaging.degradation.camera import CameraRecipe
from rlrestore.imaging.degradation.camera_files import take_pixels
from rlrestore.imaging.degradation.libjpeg import blur_and_noise, jpeg_round_trip
from rlrestore.imaging.io.files import list_photos, read_rgb8
from rlrestore.imaging.io.samples import to_floats

WHITE_255 = (2.0, 30.0)
"""Range of the white noise that is shown beside the camera's."""


def simulate(photos: list[Path], count: int, quality: int, seed: int) -> dict[str, list[NoiseStatistics]]:
    """Measure simulated noise on photographs: a camera's, and white noise as in the protocol."""
    recipe = CameraRecipe(soft_share=0.0, clean_share=0.0)
    generator, rng = torch.Generator().manual_seed(seed), np.random.default_rng(seed)
    found: dict[str, list[NoiseStatistics]] = {"camera": [], "white noise": []}
    for path in photos[:: max(1, len(photos) // count)][:count]:
        pixels = read_rgb8(path)
        camera = recipe.sample(1, generator)
        compression = replace(
            camera.compression, quality=torch.tensor([float(quality)]), full_chroma=torch.tensor([False])
        )
        taken, target = take_pixels(to_floats(pixels), replace(camera, compression=compression), generator)
        white = jpeg_round_trip(blur_and_noise(pixels, 0.0, rng.uniform(*WHITE_255), rng), quality)
        for name, one, reference in (("camera", taken, target), ("white noise", white, pixels)):
            statistics = measure_noise(one, reference)
            if statistics is not None:
                found[name].append(statistics)
    return found


def main() -> None:
    """Measure both kinds of noise, write the figure and print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True, metavar="DIR", help="folder of real pairs")
    parser.add_argument(
        "--photos", type=Path, required=True, metavar="DIR", help="folder of clean photographs"
    )
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="where the figure goes")
    parser.add_argument(
        "--count", type=positive_int, default=200, metavar="N", help="photographs (default: 200)"
    )
    parser.add_argument("--jpeg", type=percentage, default=75, metavar="Q", help="last JPEG (default: 75)")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="(default: 0)")
    args = parser.parse_args()

    real = measure_pairs(args.data)
    simulated = simulate(list_photos(args.photos), args.count, args.jpeg, args.seed)
    if not all(simulated.values()):
        sys.exit(f"expected photographs with flat parts in {args.photos}")
    args.out.mkdir(parents=True, exist_ok=True)
    plot_noise(real, simulated, args.out / "camera_noise.png")
    print(noise_table(real | simulated))


if __name__ == "__main__":
    main()
