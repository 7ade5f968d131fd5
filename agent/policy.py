"""The agent's network: it looks at a patch and says what each tool is expected to gain, in dB.

Source: paper, section 3.2 and table 2: four stride-2 convolutions to 32 features, joined with the one-hot of
the last action, an LSTM of 50 units, one value per action. Ours normalises what enters the convolutions and
the LSTM, which otherwise saturates, and splits the values into a common level and an advantage (dueling).
The authors' own is here too, as `PaperPolicy`, so that their released weights load.
"""

from typing import ClassVar, TypeAlias

import torch
import torch.nn.functional as F
from torch import Tensor, nn

Hidden = tuple[Tensor, Tensor]
"""The LSTM's memory: two tensors `(B, 50)`."""

PATCH_SIZE = 63
MAX_STEPS = 3
FEATURES = 32
MEMORY = 50
PAPER_LAYERS = ((3, 32, 9), (32, 24, 5), (24, 24, 5), (24, 24, 5))
"""The authors' convolutions: channels in, channels out, side of the kernel in pixels."""


class Trunk(nn.Module):
    """Four stride-2 convolutions: `(B, 3, P, P)` in about [0, 1] to 32 normalised features `(B, 32)`."""

    def __init__(self, patch_size: int = PATCH_SIZE) -> None:
        super().__init__()
        self.convolutions = nn.Sequential(
            nn.Conv2d(3, 32, 9, stride=2, padding=4),
            nn.ReLU(),
            nn.Conv2d(32, 24, 5, stride=2, padding=2),
            nn.ReLU(),
            nn.Conv2d(24, 24, 5, stride=2, padding=2),
            nn.ReLU(),
            nn.Conv2d(24, 24, 5, stride=2, padding=2),
            nn.ReLU(),
        )
        side = -(-patch_size // 16)
        self.features = nn.Linear(24 * side * side, FEATURES)
        self.normalise = nn.LayerNorm(FEATURES)

    def forward(self, images: Tensor) -> Tensor:
        """Return the features of the images; values outside [0, 1] are cut off first."""
        centred = (images.clamp(0, 1) - 0.5) * 4
        features: Tensor = self.normalise(self.features(self.convolutions(centred).flatten(1)))
        return F.relu(features)


class Policy(nn.Module):
    """The agent: from a patch, the last action and its memory to the value of every action.

    A value is the gain in PSNR, in dB, that is expected of the action, plus, by the discount of the training,
    that of the best ones after it. Stopping gains nothing: its value is 0 by definition.
    """

    family: ClassVar[str] = "dueling"

    def __init__(self, tools: int, patch_size: int = PATCH_SIZE, max_steps: int = MAX_STEPS) -> None:
        """Make an untrained agent.

        Args:
            tools: How many tools it chooses among.
            patch_size: Side of the patches it sees, in pixels.
            max_steps: The episode length for which its values hold.
        """
        super().__init__()
        self.tools, self.patch_size, self.max_steps = tools, patch_size, max_steps
        self.trunk = Trunk(patch_size)
        self.memory = nn.LSTMCell(FEATURES + tools + 1, MEMORY)
        self.level = nn.Linear(MEMORY, 1)
        self.advantage = nn.Linear(MEMORY, tools)

    def initial_state(self, batch: int) -> Hidden:
        """Return the empty memory of `batch` episodes that have not begun."""
        empty = self.level.weight.new_zeros(batch, MEMORY)
        return empty, empty

    def forward(self, images: Tensor, last_action: Tensor, hidden: Hidden) -> tuple[Tensor, Hidden]:
        """Look at the images as they are now.

        Args:
            images: `(B, 3, P, P)`.
            last_action: `(B,)` int64: what was done before, −1 for nothing yet.
            hidden: The memory after the step before.

        Returns:
            Values in dB `(B, tools + 1)`, stop last and 0; and the new memory.
        """
        return self.look(self.trunk(images), last_action, hidden)

    def look(self, features: Tensor, last_action: Tensor, hidden: Hidden) -> tuple[Tensor, Hidden]:
        """Do the same as `forward` from the trunk's features `(B, 32)`."""
        taken = F.one_hot(last_action + 1, self.tools + 2)[:, 1:].to(features.dtype)  # nothing yet: all zeros
        hidden = self.memory(torch.cat((features, taken), dim=1), hidden)
        advantage = self.advantage(hidden[0])
        values = self.level(hidden[0]) + advantage - advantage.mean(dim=1, keepdim=True)
        return F.pad(values, (0, 1)), hidden


class PaperTrunk(nn.Module):
    """The authors' four stride-2 convolutions and their linear layer: `(B, 3, P, P)` to `(B, 32)`."""

    def __init__(self, patch_size: int = PATCH_SIZE) -> None:
        super().__init__()
        self.convolutions = nn.ModuleList(nn.Conv2d(*layer, stride=2) for layer in PAPER_LAYERS)
        side = -(-patch_size // 16)
        self.features = nn.Linear(24 * side * side, FEATURES)

    def forward(self, images: Tensor) -> Tensor:
        """Return the features of the images as they are, not clipped and not centred."""
        for convolution, (_, _, kernel) in zip(self.convolutions, PAPER_LAYERS, strict=True):
            images = F.relu(convolution(pad_same(images, kernel, 2)))
        return F.relu(self.features(images.flatten(1)))


def pad_same(images: Tensor, kernel: int, stride: int) -> Tensor:
    """Add zeros as TensorFlow's `SAME` does: `ceil(side / stride)` results, an odd pixel bottom and right.

    63 pixels under a kernel of 9 get 4 on each side; 32 under one of 5 get 1 above and 2 below.

    Args:
        images: `(B, C, H, W)`.
        kernel: Side of the convolution's kernel in pixels.
        stride: Of the convolution, in pixels.
    """
    height, width = (max(0, (-(-side // stride) - 1) * stride + kernel - side) for side in images.shape[-2:])
    return F.pad(images, (width // 2, width - width // 2, height // 2, height - height // 2))


class PaperPolicy(nn.Module):
    """The authors' agent, with the interface of `Policy`; for their weights, and to be compared with.

    Its features are not normalised and its thirteen values come straight from the memory. It does not know
    stop as a last action, as nothing follows it. Its values are in dB as well. The authors' network also
    values stop, at about 0; here that value is subtracted from all, so that stop is 0 as everywhere, and the
    order of the actions remains the same.

    Source: paper, section 3.2 and table 2, and the released checkpoint.
    """

    family: ClassVar[str] = "paper"

    def __init__(self, tools: int, patch_size: int = PATCH_SIZE, max_steps: int = MAX_STEPS) -> None:
        """Make an untrained agent; the arguments are those of `Policy`."""
        super().__init__()
        self.tools, self.patch_size, self.max_steps = tools, patch_size, max_steps
        self.trunk = PaperTrunk(patch_size)
        self.memory = nn.LSTMCell(FEATURES + tools, MEMORY)
        self.values = nn.Linear(MEMORY, tools + 1)

    def initial_state(self, batch: int) -> Hidden:
        """Return the empty memory of `batch` episodes that have not begun."""
        empty = self.values.weight.new_zeros(batch, MEMORY)
        return empty, empty

    def forward(self, images: Tensor, last_action: Tensor, hidden: Hidden) -> tuple[Tensor, Hidden]:
        """Look at the images as they are now; arguments and results are those of `Policy`."""
        return self.look(self.trunk(images), last_action, hidden)

    def look(self, features: Tensor, last_action: Tensor, hidden: Hidden) -> tuple[Tensor, Hidden]:
        """Do the same as `forward` from the trunk's features `(B, 32)`."""
        taken = F.one_hot(last_action + 1, self.tools + 2)[:, 1:-1]  # nothing yet, and stop: all zeros
        hidden = self.memory(torch.cat((features, taken.to(features.dtype)), dim=1), hidden)
        values = self.values(hidden[0])
        return values - values[:, -1:], hidden


AnyPolicy: TypeAlias = Policy | PaperPolicy
"""An agent, whichever its network."""

POLICIES: dict[str, type[Policy] | type[PaperPolicy]] = {
    policy.family: policy for policy in (Policy, PaperPolicy)
}
"""The networks by what a model's card calls them."""
