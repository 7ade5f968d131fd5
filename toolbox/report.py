"""What the training of a tool is said to have come to."""

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class ToolReport:
    """What the training of a tool came to, on the validation photographs.

    Attributes:
        name: The tool's name.
        steps: Steps trained.
        seconds: Wall-clock time trained.
        own_db: PSNR before and after on the tool's own distortion alone.
        mixed_db: PSNR before and after on what it trains on.
    """

    name: str
    steps: int
    seconds: float
    own_db: tuple[float, float]
    mixed_db: tuple[float, float]

    @property
    def gain_db(self) -> float:
        """What it gains, in dB, alone or among others: the greater of the two."""
        return max(after - before for before, after in (self.own_db, self.mixed_db))

    def record(self) -> dict[str, Any]:
        """Return the report for a model card."""
        return {
            "network": self.name,
            "steps": self.steps,
            "seconds": round(self.seconds),
            "validation_psnr_db": {
                "alone": [round(value, 3) for value in self.own_db],
                "among_others": [round(value, 3) for value in self.mixed_db],
            },
        }

    def line(self) -> str:
        """Return one line for a person."""
        own, mixed = self.own_db, self.mixed_db
        return (
            f"{self.name:<10} alone {own[0]:.2f} → {own[1]:.2f} dB ({own[1] - own[0]:+.2f})   "
            f"among others {mixed[0]:.2f} → {mixed[1]:.2f} dB ({mixed[1] - mixed[0]:+.2f})   "
            f"{self.steps:,} steps, {self.seconds / 60:.1f} min"
        )
