"""A toy model whose every step can be computed by hand, of the real classes, so that it can be saved."""

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from rlrestore.agent.policy import Policy
from rlrestore.agent.storage import save_model
from rlrestore.model_folder.card import ModelCard
from rlrestore.restorer import Restorer
from rlrestore.runtime.torch_runtime import TorchRuntime
from rlrestore.toolbox.networks import Folded
from rlrestore.toolbox.specs import ToolSpec
from rlrestore.toolbox.storage import save_toolbox
from rlrestore.toolbox.toolbox import Toolbox

SHIFTS = {"brighten": 0.125, "darken": -0.0625, "keep": 0.0}
"""The tools of the toy in order, and what each adds to every pixel."""
FULL = 8.0
"""What drives a gate of the LSTM to one, or to zero if negative."""


class Adder(nn.Module):
    """A tool that adds a constant."""

    def __init__(self, shift: float) -> None:
        super().__init__()
        self.shift = shift

    def forward(self, images: Tensor) -> Tensor:
        """Return the images with the constant added."""
        return images + self.shift


def distance_db(distance: float) -> float:
    """PSNR of an image that is wrong by the same amount everywhere."""
    return float(-10 * np.log10(distance**2 + 1e-10))


def make_toolbox() -> Toolbox:
    """Tools that add a constant: an untrained network adds nothing, but for its last bias."""
    specs = [ToolSpec(name, "noise", 0.0, 50.0, depth=3) for name in SHIFTS]
    toolbox = Toolbox(specs)
    for network, shift in zip(toolbox.networks, SHIFTS.values(), strict=True):
        assert isinstance(network, Folded)
        nn.init.constant_(network.tail.bias, shift)  # type: ignore[arg-type]  # the layer has a bias
    return toolbox.eval().requires_grad_(False)


@torch.no_grad()
def make_policy(chain: Sequence[int], max_steps: int = 3) -> Policy:
    """An agent that follows one chain of different tools and then stops, whatever it sees.

    It expects 1 dB of the next tool of the chain and -1 dB of every other. Unit i of its memory tells that
    tool i was the last; the values are read off that.
    """
    tools = len(SHIFTS)
    policy = Policy(tools, max_steps=max_steps)
    for parameter in policy.parameters():
        nn.init.zeros_(parameter)
    features, memory = policy.sizes.features, policy.sizes.memory
    input_gate, forget_gate, _, output_gate = policy.memory.bias_ih.view(4, memory)
    for gate, drive in ((input_gate, FULL), (forget_gate, -FULL), (output_gate, FULL)):
        nn.init.constant_(gate, drive)
    for tool in range(tools):
        policy.memory.weight_ih[2 * memory + tool, features + tool] = FULL
    signal = math.tanh(1.0)  # of a unit whose gates are open and whose input is 1

    wanted = torch.full((1 + tools, tools), -1.0)  # a row for nothing yet, then one for each last tool
    for last, following in zip((-1, *chain), chain, strict=False):
        wanted[1 + last, following] = 1
    change = (wanted[1:] - wanted[0]) / signal
    policy.advantage.bias.copy_(wanted[0])
    policy.advantage.weight[:, :tools] = change.T
    policy.level.bias.copy_(wanted[0].mean())
    policy.level.weight[0, :tools] = change.mean(dim=1)
    return policy.eval().requires_grad_(False)


def make_restorer(chain: Sequence[int], max_steps: int = 3) -> Restorer:
    """A restorer with the toy model that follows one chain."""
    return Restorer(make_model(chain, max_steps))


def make_model(chain: Sequence[int], max_steps: int = 3) -> TorchRuntime:
    """The toy model that follows one chain."""
    return TorchRuntime(make_toolbox(), make_policy(chain, max_steps), name="toy")


def save_toy(folder: Path, chain: Sequence[int]) -> Path:
    """Write the toy model that follows one chain; returns its folder."""
    save_model(folder, make_toolbox(), make_policy(chain), ModelCard("toy"))
    return folder


def make_single() -> Toolbox:
    """A toolbox of one tool, which brightens."""
    toolbox = make_toolbox()
    return Toolbox([ToolSpec("single", "mixture", 12, 17, depth=3)], networks=[toolbox.networks[0]])


def save_single(folder: Path) -> Path:
    """Write the toolbox of one tool, without an agent; returns its folder."""
    save_toolbox(folder, make_single(), ModelCard("single"))
    return folder
