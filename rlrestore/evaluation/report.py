"""What came of a test set: means over its images, as a table and as JSON."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from rlrestore.imaging.metrics import METRICS, Metric


@dataclass(frozen=True)
class Report:
    """Means over a test set.

    Attributes:
        name: The test set.
        n: How many images.
        means: Of every metric by its name the mean over the images: input, after step 1, 2, …
        gain_db: Mean PSNR of the results over that of the inputs.
        gain_standard_error_db: Standard error of this mean over images, 0 for one image.
        worse_share: Share of the images whose result has a lower PSNR than the input.
        least_gain_db: Of the image that gained least, negative if one lost.
        stop_shares: Share of the images whose chain the agent ended at step 1, 2, …
        actions: How often each action was chosen, every action of the model being listed.
        actions_by_step: The same for each step alone.
    """

    name: str
    n: int
    means: Mapping[str, tuple[float, ...]]
    gain_db: float
    gain_standard_error_db: float
    worse_share: float
    least_gain_db: float
    stop_shares: tuple[float, ...]
    actions: dict[str, int]
    actions_by_step: tuple[dict[str, int], ...]

    @property
    def psnr_db(self) -> tuple[float, ...]:
        """Mean PSNR in dB."""
        return self.means["psnr_db"]

    @property
    def ssim(self) -> tuple[float, ...]:
        """Mean SSIM."""
        return self.means["ssim"]

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values, the means by their metrics' names beside the others."""
        record = asdict(self)
        means = record.pop("means")
        return {"name": self.name, "n": self.n, **means, **record}

    def table(self) -> str:
        """Return the report for a terminal."""
        steps = len(self.stop_shares)
        rows = [
            ("", "input", *(f"step {step + 1}" for step in range(steps)), "gain"),
            *(self._row(metric) for metric in METRICS if metric.name in self.means),
            ("stop here", "", *(f"{share:.1%}" for share in self.stop_shares), ""),
        ]
        lines = [f"{self.name}, {self.n} image{'s' if self.n > 1 else ''}"]
        for head, *cells, last in rows:
            lines.append(f"  {head:<14}" + "".join(f"{cell:>10}" for cell in cells) + f"{last:>16}")
        lines.append(f"  worse than the input: {self.worse_share:.1%}, worst {self.least_gain_db:+.2f} dB")
        lines.append(f"  actions: {_shares(self.actions)}")
        return "\n".join(line.rstrip() for line in lines)

    def _row(self, metric: Metric) -> tuple[str, ...]:
        """Return a metric's row: its means, and what was gained, of PSNR with its standard error."""
        means, decimals = self.means[metric.name], metric.decimals
        gain = f"{means[-1] - means[0]:+.{decimals}f}"
        if metric.name == "psnr_db":
            gain += f" ± {self.gain_standard_error_db:.{decimals}f}"
        return (metric.title, *(f"{mean:.{decimals}f}" for mean in means), gain)


def _shares(actions: dict[str, int]) -> str:
    total = max(1, sum(actions.values()))
    used = sorted(((count, name) for name, count in actions.items() if count), key=lambda item: -item[0])
    return ", ".join(f"{name} {count / total:.1%}" for count, name in used)
