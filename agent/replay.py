"""What a training keeps of the episodes it has played."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor


@dataclass(frozen=True)
class Kept:
    """Episodes played, column by column.

    Attributes:
        columns: Tensors `(N, …)`, one row for each episode; which there are is a matter of the learning.
    """

    columns: Mapping[str, Tensor]

    def __post_init__(self) -> None:
        if len({len(column) for column in self.columns.values()}) != 1:
            shapes = {name: tuple(column.shape) for name, column in self.columns.items()}
            raise ValueError(f"expected columns of one length, got {shapes}")

    def __len__(self) -> int:
        return len(next(iter(self.columns.values())))

    def __getitem__(self, name: str) -> Tensor:
        return self.columns[name]

    def rows(self, chosen: Tensor) -> "Kept":
        """Return the episodes of these numbers `(K,)`."""
        return Kept({name: column[chosen] for name, column in self.columns.items()})

    def joined(self, newer: Self, capacity: int) -> "Kept":
        """Return these episodes and newer ones, the newest `capacity` of them all."""
        return Kept(
            {name: torch.cat((column, newer[name]))[-capacity:] for name, column in self.columns.items()}
        )

    def transposed(self) -> "Kept":
        """Return the same episodes on transposed patches; what the tools gain there hardly differs."""
        return Kept({**self.columns, "seen": self["seen"].mT})
