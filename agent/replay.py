"""The replay buffer: episodes, or patches, that a training has collected."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor


@dataclass(frozen=True)
class ReplayBuffer:
    """Episodes, column by column; of a distillation, patches.

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

    def rows(self, chosen: Tensor) -> "ReplayBuffer":
        """Return the episodes of these numbers `(K,)`."""
        return ReplayBuffer({name: column[chosen] for name, column in self.columns.items()})

    def joined(self, newer: Self, capacity: int) -> "ReplayBuffer":
        """Return these episodes and newer ones, the newest `capacity` of them all."""
        return ReplayBuffer(
            {name: torch.cat((column, newer[name]))[-capacity:] for name, column in self.columns.items()}
        )

    def transposed(self) -> "ReplayBuffer":
        """Return the same episodes on transposed patches; what the tools gain there hardly differs."""
        return ReplayBuffer({**self.columns, "observations": self["observations"].mT})
