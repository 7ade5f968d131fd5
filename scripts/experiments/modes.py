"""Global mode, one chain for a photograph, against local mode, others where regions differ."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from tqdm import tqdm

from experiments.varying import vary
from rlrestore.evaluation.scores import standard_error
from rlrestore.imaging.psnr import photo_psnr_db
from rlrestore.inference.photos import as_photo, to_planes
from rlrestore.restorer import CHAINS, Restorer


@dataclass(frozen=True)
class ModeScores:
    """The results of both modes on N photographs with one kind of degradation.

    Attributes:
        kind: The degradation, one of `experiments.varying.KINDS`.
        psnr_db: `(N, 3)` of the input, of the result of global mode, of that of local mode, of 8 bits as in
            their files.
        ms_per_megapixel: `(N, 2)` time of the agent and the tools, global and local.
    """

    kind: str
    psnr_db: Tensor
    ms_per_megapixel: Tensor

    def __post_init__(self) -> None:
        count = len(self.psnr_db)
        if self.psnr_db.shape != (count, 3) or self.ms_per_megapixel.shape != (count, 2) or not count:
            raise ValueError(
                "expected PSNR (N, 3) and times (N, 2) of N > 0 photographs, "
                f"got {tuple(self.psnr_db.shape)} and {tuple(self.ms_per_megapixel.shape)}"
            )

    def to_json(self) -> dict[str, Any]:
        """Return the means, in plain JSON values; the standard errors are those of means over photographs."""
        start, of_global, of_local = self.psnr_db.unbind(dim=1)
        gains = {"global": of_global - start, "local": of_local - start, "difference": of_local - of_global}
        mean_ms = self.ms_per_megapixel.mean(dim=0).tolist()
        return {
            "n": len(start),
            "input_psnr_db": start.mean().item(),
            **{f"{name}_db": gain.mean().item() for name, gain in gains.items()},
            **{f"{name}_standard_error_db": standard_error(gain) for name, gain in gains.items()},
            "smallest_difference_db": gains["difference"].min().item(),
            "same": (gains["difference"] == 0).double().mean().item(),
            **{f"{mode}_ms_per_megapixel": ms for mode, ms in zip(CHAINS, mean_ms, strict=True)},
        }


def compare_modes(
    restorer: Restorer, photos: Sequence[NDArray[np.uint8]], kind: str, seed: int = 0, progress: bool = False
) -> ModeScores:
    """Degrade photographs by one kind of degradation and restore them in both modes.

    Args:
        restorer: The model.
        photos: `(H, W, 3)` clean, of any sizes, at least one.
        kind: One of `experiments.varying.KINDS`.
        seed: The same seed gives the same degradation.
        progress: Whether to show a progress bar on stderr.

    Raises:
        UsageError: There is no such kind.
    """
    psnr_db, times = [], []
    for index, photo in enumerate(tqdm(photos, desc=kind, unit="image", disable=not progress)):
        degraded = vary(photo, kind, (seed, index))
        both = [restorer.restore(degraded, mode=mode, keep_steps=False) for mode in CHAINS]
        megapixels = photo.shape[0] * photo.shape[1] / 1e6
        truth = to_planes(as_photo(photo))
        results = (as_photo(degraded), *(as_photo(done.image) for done in both))
        psnr_db.append([photo_psnr_db(to_planes(result), truth) for result in results])
        times.append([sum(step.time_ms for step in done.trace.steps) / megapixels for done in both])
    return ModeScores(kind, torch.tensor(psnr_db, dtype=torch.float64), torch.tensor(times))


def modes_table(scores: Sequence[ModeScores]) -> str:
    """Return the results for a terminal, one line a kind."""
    head = (
        "degradation",
        "images",
        "input, dB",
        "global",
        "local",
        "local - global, dB",
        "smallest",
        "same",
        "ms/megapixel",
    )
    lines = [_line(head)]
    for part in scores:
        row = part.to_json()
        difference = f"{row['difference_db']:+.2f} ± {row['difference_standard_error_db']:.2f}"
        times = " / ".join(f"{row[f'{mode}_ms_per_megapixel']:.0f}" for mode in CHAINS)
        gains = (f"{row[f'{mode}_db']:+.2f}" for mode in CHAINS)
        smallest, same = f"{row['smallest_difference_db']:+.2f}", f"{row['same']:.0%}"
        start = f"{row['input_psnr_db']:.2f}"
        lines.append(_line((part.kind, str(row["n"]), start, *gains, difference, smallest, same, times)))
    return "\n".join(lines)


def _line(cells: Sequence[str]) -> str:
    widths = (6, 9, 8, 8, 18, 8, 5, 13)
    first, *others = cells
    return f"{first:<15}" + "".join(f"  {cell:>{width}}" for cell, width in zip(others, widths, strict=True))
