"""The agent's network: it estimates from a patch what each tool is expected to gain, in dB.

The paper's agent processes a patch by four convolutions, which must first learn to recognise noise, blur and
JPEG. Ours is given the spectrum of the patch (`spectrum.py`), where they are plain, and learns what they
call for.
From there on it is the paper's: features, joined with the one-hot of the last action, an LSTM, one value per
action, which is split into a common level and an advantage (dueling). The authors' own agent is
here too, as `PaperPolicy`: for their released weights, and to be trained and compared with.

Source: paper, section 3.2 and table 2; dueling values from Wang et al., ICML 2016.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, TypeAlias

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from rlrestore.agent.spectrum import PLANES, Spectrum
from rlrestore.imaging import PATCH
from rlrestore.imaging.degradation.jpeg import BLOCK

Hidden = tuple[Tensor, Tensor]
"""The LSTM's memory: two tensors `(B, memory)`."""

MAX_STEPS = 3
TYPICAL_MEAN, TYPICAL_DEVIATION = -5.0, 2.0
"""Of the entries of spectra, until they are measured."""
SMALLEST_DEVIATION = 0.1
STOP_MARGIN_DB = 0.1
"""What a trained agent must expect of a further tool before it takes it: smaller values are mostly error."""
PAPER_LAYERS = ((3, 32, 9), (32, 24, 5), (24, 24, 5), (24, 24, 5))
"""The authors' convolutions: channels in, channels out, side of the kernel in pixels."""


@dataclass(frozen=True)
class PolicySizes:
    """How large an agent's network is.

    Attributes:
        hidden: Units between the spectrum and the features.
        features: Of a patch, for the memory.
        memory: Units of the LSTM.
    """

    hidden: int = 256
    features: int = 64
    memory: int = 64


USUAL_SIZES = PolicySizes()
"""Of a new agent."""
PAPER_FEATURES, PAPER_MEMORY = 32, 50
"""The authors' sizes."""


class Trunk(nn.Module):
    """Two layers on the spectra of patches: `(B, PLANES, 8, 8)` to `(B, features)`."""

    def __init__(self, sizes: PolicySizes = USUAL_SIZES) -> None:
        super().__init__()
        entries = PLANES * BLOCK * BLOCK
        self.mean: Tensor
        self.register_buffer("mean", torch.full((entries,), TYPICAL_MEAN))
        self.deviation: Tensor
        self.register_buffer("deviation", torch.full((entries,), TYPICAL_DEVIATION))
        self.hidden = nn.Linear(entries, sizes.hidden)
        self.features = nn.Linear(sizes.hidden, sizes.features)

    @property
    def is_standardised(self) -> bool:
        """Whether a training has begun."""
        return bool((self.mean != TYPICAL_MEAN).any())

    @torch.no_grad()
    def standardise(self, spectra: Tensor) -> None:
        """Let the entries of these spectra have mean 0 and deviation 1 from now on.

        Done once, before training: where it has been done, nothing happens, for the weights rely on it.
        """
        if self.is_standardised:
            return
        flat = spectra.flatten(1).float()
        self.mean.copy_(flat.mean(dim=0))
        self.deviation.copy_(flat.std(dim=0).clamp(min=SMALLEST_DEVIATION))

    def forward(self, spectra: Tensor) -> Tensor:
        """Return the features of spectra of any float type."""
        standard = (spectra.flatten(1).float() - self.mean) / self.deviation
        return F.relu(self.features(F.relu(self.hidden(standard))))


class Policy(nn.Module):
    """The agent: from a patch, the last action and its memory to the value of every action.

    A value is the gain in PSNR, in dB, that is expected of the action, plus, by the discount of the training,
    that of the best ones after it. Stopping gains nothing: its value is 0 by definition.
    """

    family: ClassVar[str] = "spectral"

    def __init__(
        self,
        tools: int,
        max_steps: int = MAX_STEPS,
        stop_margin_db: float = 0.0,
        sizes: PolicySizes = USUAL_SIZES,
        start_margins_db: Sequence[float] | None = None,
    ) -> None:
        """Make an untrained agent.

        Args:
            tools: How many tools it chooses among.
            max_steps: The episode length for which its values hold.
            stop_margin_db: It stops where no tool is valued higher than this. Being wrong about a tool costs
                more than leaving it out where it would have gained so little.
            sizes: How large it is.
            start_margins_db: The same for the first tool, by the tool that it values most; without it the
                stop margin for each.
        """
        super().__init__()
        self.tools, self.max_steps = tools, max_steps
        self.stop_margin_db, self.sizes = stop_margin_db, sizes
        self.start_margins_db = _margins(tools, stop_margin_db, start_margins_db)
        self.spectrum = Spectrum()
        self.trunk = Trunk(sizes)
        self.memory = nn.LSTMCell(sizes.features + tools + 1, sizes.memory)
        self.level = nn.Linear(sizes.memory, 1)
        self.advantage = nn.Linear(sizes.memory, tools)

    def initial_state(self, batch: int) -> Hidden:
        """Return the empty memory of `batch` episodes that have not begun."""
        empty = self.level.weight.new_zeros(batch, self.sizes.memory)
        return empty, empty

    def observe(self, images: Tensor) -> Tensor:
        """Return all that it uses of images `(B, 3, P, P)`, which is what a training keeps of them."""
        spectra: Tensor = self.spectrum(images)
        return spectra

    def forward(self, images: Tensor, last_action: Tensor, hidden: Hidden) -> tuple[Tensor, Hidden]:
        """Return the values of all actions in the present state.

        Args:
            images: `(B, 3, P, P)`.
            last_action: `(B,)` int64: what was done before, −1 for nothing yet.
            hidden: The memory after the step before.

        Returns:
            Values in dB `(B, tools + 1)`, stop last and 0; and the new memory.
        """
        return self.step(self.trunk(self.observe(images)), last_action, hidden)

    def step(self, features: Tensor, last_action: Tensor, hidden: Hidden) -> tuple[Tensor, Hidden]:
        """Do the same as `forward` from the trunk's `(B, features)`."""
        taken = F.one_hot(last_action + 1, self.tools + 2)[:, 1:].to(features.dtype)  # nothing yet: all zeros
        hidden = self.memory(torch.cat((features, taken), dim=1), hidden)
        advantage = self.advantage(hidden[0])
        values = self.level(hidden[0]) + advantage - advantage.mean(dim=1, keepdim=True)
        return F.pad(values, (0, 1)), hidden


class PaperTrunk(nn.Module):
    """The authors' four stride-2 convolutions and their linear layer: `(B, 3, PATCH, PATCH)` to `(B, 32)`."""

    def __init__(self) -> None:
        super().__init__()
        self.convolutions = nn.ModuleList(nn.Conv2d(*layer, stride=2) for layer in PAPER_LAYERS)
        side = -(-PATCH // 16)
        self.features = nn.Linear(24 * side * side, PAPER_FEATURES)

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
    (above, below), (left, right) = (same_padding(side, kernel, stride) for side in images.shape[-2:])
    return F.pad(images, (left, right, above, below))


def same_padding(side: int, kernel: int, stride: int) -> tuple[int, int]:
    """Return how many zeros `pad_same` adds before and behind a side of so many pixels."""
    zeros = max(0, (-(-side // stride) - 1) * stride + kernel - side)
    return zeros // 2, zeros - zeros // 2


class PaperPolicy(nn.Module):
    """The authors' agent, with the interface of `Policy`; for their weights, and to be compared with.

    Its features are not normalised and its thirteen values come straight from the memory. It does not know
    stop as a last action, as nothing follows it. Its values are in dB as well. The authors' network also
    values stop, at about 0; here that value is subtracted from all, so that stop is 0 as everywhere, and the
    order of the actions remains the same.

    Source: paper, section 3.2 and table 2, and the released checkpoint.
    """

    family: ClassVar[str] = "paper"

    def __init__(
        self,
        tools: int,
        max_steps: int = MAX_STEPS,
        stop_margin_db: float = 0.0,
        start_margins_db: Sequence[float] | None = None,
    ) -> None:
        """Make an untrained agent; the arguments are those of `Policy`."""
        super().__init__()
        self.tools, self.max_steps = tools, max_steps
        self.stop_margin_db = stop_margin_db
        self.start_margins_db = _margins(tools, stop_margin_db, start_margins_db)
        self.trunk = PaperTrunk()
        self.memory = nn.LSTMCell(PAPER_FEATURES + tools, PAPER_MEMORY)
        self.values = nn.Linear(PAPER_MEMORY, tools + 1)

    def initial_state(self, batch: int) -> Hidden:
        """Return the empty memory of `batch` episodes that have not begun."""
        empty = self.values.weight.new_zeros(batch, PAPER_MEMORY)
        return empty, empty

    def observe(self, images: Tensor) -> Tensor:
        """Return all that it makes use of in images: themselves."""
        return images

    def forward(self, images: Tensor, last_action: Tensor, hidden: Hidden) -> tuple[Tensor, Hidden]:
        """Return the values of all actions; arguments and results are those of `Policy`."""
        return self.step(self.trunk(images), last_action, hidden)

    def step(self, features: Tensor, last_action: Tensor, hidden: Hidden) -> tuple[Tensor, Hidden]:
        """Do the same as `forward` from the trunk's features `(B, 32)`."""
        taken = F.one_hot(last_action + 1, self.tools + 2)[:, 1:-1]  # nothing yet, and stop: all zeros
        hidden = self.memory(torch.cat((features, taken.to(features.dtype)), dim=1), hidden)
        values = self.values(hidden[0])
        return values - values[:, -1:], hidden


def _margins(tools: int, stop_margin_db: float, given: Sequence[float] | None) -> tuple[float, ...]:
    margins = (stop_margin_db,) * tools if given is None else tuple(given)
    if len(margins) != tools:
        raise ValueError(f"expected a start margin for each of {tools} tools, got {margins}")
    return margins


def best_action(values: Tensor, margins_db: Tensor | float) -> Tensor:
    """Return what an agent of these values does: `(…, N + 1)`, stop last, to `(…,)` int64.

    Args:
        values: Of every action, stop's being 0.
        margins_db: What the best tool's value must exceed, `(…, N)` by the tool or one for all; else stop it
            is.
    """
    tool = values[..., :-1].argmax(dim=-1)
    enough = (values[..., :-1] > margins_db).gather(-1, tool[..., None]).squeeze(-1)
    return torch.where(enough, tool, values.shape[-1] - 1)


AnyPolicy: TypeAlias = Policy | PaperPolicy
"""An agent, whichever its network."""

POLICIES: dict[str, type[Policy] | type[PaperPolicy]] = {
    policy.family: policy for policy in (Policy, PaperPolicy)
}
"""The networks by what a model's card calls them."""
