"""Rollouts on a batch of patches, by any behaviour: the agent, a part of it, chance, a fixed chain.

A behaviour is asked before every step, with the patches as they are now, and answers for each of them. It is
made afresh for every batch, for it may remember earlier observations.

Shapes: B patches, N tools, T steps; action N means stop.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from rlrestore.agent.policy import AnyPolicy, Hidden, best_action
from rlrestore.toolbox.specs import NO_ACTION
from rlrestore.toolbox.toolbox import Tools

Behaviour = Callable[[Tensor, Tensor], Tensor]
"""From images `(B, 3, H, W)`, not clipped, and last actions `(B,)`, first `NO_ACTION`, to `(B,)` actions."""


@dataclass(frozen=True)
class Rollout:
    """The chains of B patches.

    Attributes:
        images: `(T + 1, B, 3, H, W)` the input and the patches after every step, not clipped. A patch that
            stopped keeps its value.
        actions: `(B, T)` int64; stop from where a patch stopped.
    """

    images: Tensor
    actions: Tensor


def roll_out(toolbox: Tools, images: Tensor, choose: Behaviour, max_steps: int) -> Rollout:
    """Roll out one chain on every patch; what is chosen for one that has stopped does not count.

    Args:
        toolbox: N tools.
        images: `(B, 3, H, W)` RGB in [0, 1], on the toolbox's device.
        choose: Who chooses.
        max_steps: Tools to apply at most.
    """
    last = torch.full((len(images),), NO_ACTION, device=images.device)
    states, actions = [images], []
    for _ in range(max_steps):
        last = torch.where(last == toolbox.stop, last, choose(images, last))
        images = toolbox.apply_each(last, images)
        states.append(images)
        actions.append(last)
    return Rollout(torch.stack(states), torch.stack(actions, dim=1))


def greedy(
    policy: AnyPolicy,
    remembers: bool = True,
    may_stop: bool = True,
    with_margin: bool = True,
    allowed: Tensor | None = None,
) -> Behaviour:
    """Choose as the agent does: what it values most, of the patches clipped to [0, 1].

    Args:
        policy: The agent.
        remembers: Whether it keeps its memory and knows the last action; without it every step is its first.
        may_stop: Whether it chooses among the tools and stop, or among the tools alone.
        with_margin: Whether it stops where no tool is expected to gain more than its margin.
        allowed: `(N,)` bool, on the agent's device: the tools that it may choose; all of them without it.

    Raises:
        ValueError: Of another number of tools, or no tool is allowed.
    """
    if allowed is not None and (allowed.shape != (policy.tools,) or not bool(allowed.any())):
        raise ValueError(
            f"expected one truth for each of {policy.tools} tools and one that holds, got {allowed}"
        )
    hidden: Hidden | None = None
    start_margins = torch.tensor(policy.start_margins_db, device=next(policy.parameters()).device)

    def choose(images: Tensor, last_action: Tensor) -> Tensor:
        nonlocal hidden
        first = (last_action == NO_ACTION)[:, None]
        if hidden is None or not remembers:
            hidden, last_action = policy.initial_state(len(images)), torch.full_like(last_action, NO_ACTION)
        values, hidden = policy(images.clamp(0, 1), last_action, hidden)
        if allowed is not None:
            values = values.masked_fill(~F.pad(allowed, (0, 1), value=True), -torch.inf)
        if may_stop:
            margins = torch.where(first, start_margins, policy.stop_margin_db)
            return best_action(values, margins if with_margin else 0.0)
        tools: Tensor = values[:, :-1]
        return tools.argmax(dim=1)

    return choose


def uniform(actions: int, generator: torch.Generator) -> Behaviour:
    """Choose among so many actions, each as likely as another; the generator is on the CPU."""

    def choose(images: Tensor, _: Tensor) -> Tensor:
        return torch.randint(actions, (len(images),), generator=generator).to(images.device)

    return choose


def fixed(chain: Sequence[int], stop: int) -> Behaviour:
    """Take the same chain on every patch, then stop."""
    following = iter(chain)

    def choose(_: Tensor, last_action: Tensor) -> Tensor:
        return torch.full_like(last_action, next(following, stop))

    return choose
