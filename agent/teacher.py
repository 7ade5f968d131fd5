"""The chain that undoes what was done to a patch: a teacher that knows the truth, for joint training."""

from collections.abc import Sequence

import torch
from torch import Tensor

from rlrestore.agent.rollout import Behaviour
from rlrestore.imaging.degradation.batches import Rows, waits_to_count
from rlrestore.imaging.degradation.protocol import Degradations
from rlrestore.toolbox.specs import NO_ACTION, Distortion, ToolSpec


def strengths(specs: Sequence[ToolSpec], amounts: Degradations) -> Tensor:
    """Return how strong the distortions of B patches are: `(B, 3)` for blur, noise and JPEG, 0 for none.

    It is counted in tools: the place of a distortion's own among those of its kind, from weak to strong, and
    how far into that tool's range it lies. A kind that none of the tools is for has no strength.
    """
    return _own_tools(specs, amounts)[1]


def teacher_chains(specs: Sequence[ToolSpec], amounts: Degradations, max_steps: int) -> Tensor:
    """Return for each of B patches the tools for what was done to it, the strongest distortion first.

    Args:
        specs: N tools. A kind of distortion that none of them is for is left alone.
        amounts: What was done to the patches.
        max_steps: Tools at most.

    Returns:
        `(B, max_steps)` int64, filled up with stop (N).
    """
    tools, strong = _own_tools(specs, amounts)
    order = strong.argsort(dim=1, descending=True, stable=True)
    chains = torch.where(strong > 0, tools, len(specs)).gather(1, order)[:, :max_steps]
    rest = chains.new_full((len(chains), max_steps - chains.shape[1]), len(specs))
    return torch.cat((chains, rest), dim=1)


def prescription(
    specs: Sequence[ToolSpec],
    amounts: Degradations,
    max_steps: int,
    planned: float,
    exploration: float,
    generator: torch.Generator,
) -> Tensor:
    """Return the actions `(B, T)` that are given to B chains; `NO_ACTION` where another is to choose.

    Args:
        specs: N tools.
        amounts: What was done to each patch, `(B,)` each.
        max_steps: T.
        planned: Share of the chains that are the teacher's as a whole.
        exploration: Share of the actions in the others that are a random tool.
        generator: Source of all draws, on the device of the amounts.
    """
    chains, device = teacher_chains(specs, amounts, max_steps), generator.device
    draws = torch.rand(2, *chains.shape, generator=generator, device=device)
    random = torch.randint(len(specs), chains.shape, generator=generator, device=device)
    explored = torch.where(draws[0] < exploration, random, NO_ACTION)
    return torch.where(draws[1, :, :1] < planned, chains, explored)


def _own_tools(specs: Sequence[ToolSpec], amounts: Degradations) -> tuple[Tensor, Tensor]:
    """Return `(B, 3)` the tools for each patch's blur, noise and JPEG, and `(B, 3)` how strong these are."""
    kinds: tuple[tuple[Distortion, Tensor], ...] = (
        ("blur", amounts.blur_sigma_px),
        ("noise", amounts.noise_sigma_255),
        ("jpeg", amounts.jpeg_quality),
    )
    found = [_own_tool(specs, kind, amount) for kind, amount in kinds]
    tools, strong = (torch.stack(column, dim=1) for column in zip(*found, strict=True))
    return tools, strong


def _own_tool(specs: Sequence[ToolSpec], kind: Distortion, amount: Tensor) -> tuple[Tensor, Tensor]:
    """Return which tool of a kind each amount `(B,)` is for, and how strong it is, 0 for none at all."""
    numbered = [(index, spec) for index, spec in enumerate(specs) if spec.distortion == kind]
    falls = kind == "jpeg"  # the lower the quality, the stronger
    if not numbered:
        return torch.full_like(amount, len(specs), dtype=torch.int64), torch.zeros_like(amount)
    numbered.sort(key=lambda pair: -pair[1].high if falls else pair[1].low)
    low, high = (
        torch.tensor(ends, dtype=torch.float32, device=amount.device)
        for ends in zip(*((spec.low, spec.high) for _, spec in numbered), strict=True)
    )
    outside = torch.maximum(low - amount[:, None], amount[:, None] - high).clamp(min=0)  # (B, tools)
    place = outside.argmin(dim=1)
    depth = ((amount - low[place]) / (high[place] - low[place])).clamp(0, 1)
    strength = place + (1 - depth if falls else depth) + torch.finfo(torch.float32).eps
    index = torch.tensor([index for index, _ in numbered], device=amount.device)
    return index[place], torch.where(amount > 0, strength, 0.0)


def prescribed(actions: Tensor, other: Behaviour) -> Behaviour:
    """Take the actions `(B, T)` that are given; where one is `NO_ACTION`, let the other choose.

    Whose chain is given to the end, the other is not asked about, unless to find those costs a wait.
    """
    steps = iter(actions.unbind(dim=1))
    asked: Rows = slice(None)
    if not waits_to_count(actions.device):
        asked = (actions == NO_ACTION).any(dim=1).nonzero().squeeze(1)

    def choose(images: Tensor, last_action: Tensor) -> Tensor:
        chosen = next(steps).clone()
        given = chosen[asked]
        chosen[asked] = torch.where(given == NO_ACTION, other(images[asked], last_action[asked]), given)
        return chosen

    return choose
