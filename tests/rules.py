"""Agents that follow a rule, and tools that add a constant: what comes of a photograph is known by hand."""

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from rlrestore.agent.policy import Hidden, Policy
from rlrestore.restorer import Restorer
from rlrestore.runtime.torch_runtime import TorchRuntime
from rlrestore.toolbox.specs import TOOLS
from rlrestore.toolbox.toolbox import Toolbox

Rule = Callable[[Tensor, Tensor, int], Tensor]
"""How a hand-made agent thinks: images `(B, 3, P, P)`, last actions `(B,)`, looks so far → `(B, tools)`."""


class Brighten(nn.Module):
    """A tool that adds a constant, so that every result is known beforehand."""

    def __init__(self, amount: float) -> None:
        super().__init__()
        self.amount = nn.Parameter(torch.tensor(amount))

    def forward(self, images: Tensor) -> Tensor:
        return images + self.amount


class Slope(nn.Module):
    """A tool that brightens from nothing on the left to 0.2 on the right: by 0.1 in the mean of all views."""

    def forward(self, images: Tensor) -> Tensor:
        return images + torch.linspace(0, 0.2, images.shape[-1])


def sloping() -> Restorer:
    """A model that applies `Slope` once."""
    toolbox = Toolbox(TOOLS[:1], "toy", [Slope()])
    return Restorer(TorchRuntime(toolbox, Rules(1, always(1.0), 1), "toy"))


class Rules(Policy):
    """An agent that follows a rule, and counts its looks in the memory it is handed."""

    def __init__(self, tools: int, rule: Rule, max_steps: int = 3) -> None:
        super().__init__(tools, max_steps=max_steps)
        self.rule = rule
        self.seen: list[Tensor] = []

    def forward(self, images: Tensor, last_action: Tensor, hidden: Hidden) -> tuple[Tensor, Hidden]:
        self.seen.append(images.clone())
        values = self.rule(images, last_action, int(hidden[0][0, 0]))
        return torch.cat([values, torch.zeros(len(images), 1)], dim=1), (hidden[0] + 1, hidden[1])


def restorer(amounts: Sequence[float], rule: Rule, max_steps: int = 3) -> Restorer:
    toolbox = Toolbox(TOOLS[: len(amounts)], "toy", [Brighten(amount) for amount in amounts])
    return Restorer(TorchRuntime(toolbox, Rules(len(amounts), rule, max_steps), "toy"))


def torch_model(restorer: Restorer) -> TorchRuntime:
    assert isinstance(restorer.runtime, TorchRuntime)
    return restorer.runtime


def always(*values: float) -> Rule:
    def rule(images: Tensor, last_action: Tensor, looks: int) -> Tensor:
        return torch.tensor([values]).expand(len(images), -1)

    return rule


def at_looks(*values: float) -> Rule:
    def rule(images: Tensor, last_action: Tensor, looks: int) -> Tensor:
        return torch.full((len(images), 1), values[looks])

    return rule


def by_colour(images: Tensor, last_action: Tensor, looks: int) -> Tensor:
    """Value tool 0 by the red, tool 1 by the green; half is worth nothing."""
    return 4 * (images.mean(dim=(2, 3))[:, :2] - 0.5)


def grey(value: float, height: int = 70, width: int = 90) -> npt.NDArray[np.float32]:
    return np.full((height, width, 3), value, np.float32)


def by_last_action(images: Tensor, last_action: Tensor, looks: int) -> Tensor:
    """Value tool 0 first, then tool 1, then stop, by the last action alone."""
    return nn.functional.one_hot(last_action + 1, 3)[:, :2] - 0.5


def by_memory(images: Tensor, last_action: Tensor, looks: int) -> Tensor:
    """Value the same chain, by the memory alone."""
    return torch.tensor([[float(looks == 0), float(looks == 1)]]).expand(len(images), -1) - 0.5


def dark_only(images: Tensor, last_action: Tensor, looks: int) -> Tensor:
    return 2 * (0.5 - images.mean(dim=(1, 2, 3))[:, None])
