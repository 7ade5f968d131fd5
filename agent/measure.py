"""How good a policy is on pairs it was not trained on, beside the best that the same tools could do."""

from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor

from rlrestore.agent.policy import AnyPolicy
from rlrestore.agent.qlearning import follow
from rlrestore.envs.transition import EpisodeState, expand, start
from rlrestore.toolbox.toolbox import Toolbox


@dataclass(frozen=True)
class PolicyReport:
    """Mean returns over held-out episodes, in dB.

    Attributes:
        policy_db: What the agent gains, acting greedily and stopping when it wants to.
        oracle_db: What the tool that really gains most, at every step, gains; it stops when none gains.
        fixed_db: What the best single chain gains when it is played on every patch; built tool by tool.
        fixed_chain: That chain, as tool indices.
        first_action_entropy: Of the agent's first actions, in nats; near 0 it has collapsed to one tool.
    """

    policy_db: float
    oracle_db: float
    fixed_db: float
    fixed_chain: tuple[int, ...]
    first_action_entropy: float

    def record(self) -> dict[str, Any]:
        """Return the report for a model card."""
        numbers = {name: value for name, value in asdict(self).items() if name != "fixed_chain"}
        return {
            **{name: round(value, 3) for name, value in numbers.items()},
            "fixed_chain": list(self.fixed_chain),
        }

    def line(self) -> str:
        """Return one line for a person."""
        return (
            f"return {self.policy_db:.2f} dB   greedy oracle {self.oracle_db:.2f}   "
            f"best fixed chain {self.fixed_db:.2f}   first-action entropy {self.first_action_entropy:.2f}"
        )


def play(policy: AnyPolicy, toolbox: Toolbox, state: EpisodeState) -> tuple[Tensor, Tensor]:
    """Let the agent act greedily.

    Returns:
        `(B,)` return in dB and `(B, T)` actions; after stop, stop.
    """
    hidden = policy.initial_state(len(state))
    began, actions = state.psnr_db, []
    stopped = torch.zeros_like(state.steps, dtype=torch.bool)
    for _ in range(policy.max_steps):
        values, hidden = policy(state.images, state.last_action, hidden)
        chosen = torch.where(stopped, toolbox.stop, values.argmax(dim=1))
        stopped = chosen == toolbox.stop
        images = toolbox.apply_each(chosen, state.images)
        state = start(images, state.clean)
        state = EpisodeState(images, state.clean, state.psnr_db, began, chosen, state.steps)
        actions.append(chosen)
    return state.psnr_db - began, torch.stack(actions, dim=1)


def oracle_return(toolbox: Toolbox, state: EpisodeState, max_steps: int) -> Tensor:
    """Return `(B,)` what the greedy oracle gains: at every step the tool with the highest reward, or stop."""
    began = state.psnr_db
    for _ in range(max_steps):
        successors, psnr_db = expand(toolbox, state)
        best = psnr_db.amax(dim=1)
        moved = follow(state, psnr_db.argmax(dim=1), successors, psnr_db)
        better = best > state.psnr_db
        images = torch.where(better[:, None, None, None], moved.images, state.images)
        value_db = torch.where(better, best, state.psnr_db)
        state = EpisodeState(images, state.clean, value_db, began, moved.last_action, moved.steps)
    return state.psnr_db - began


def fixed_chain(toolbox: Toolbox, state: EpisodeState, max_steps: int) -> tuple[float, tuple[int, ...]]:
    """Return the best single chain for all patches, built tool by tool: its mean gain in dB, the chain."""
    began, chain = state.psnr_db, []
    for _ in range(max_steps):
        successors, psnr_db = expand(toolbox, state)
        gains = psnr_db.mean(dim=0) - state.psnr_db.mean()
        tool = int(gains.argmax())
        if float(gains[tool]) <= 0:
            break
        chain.append(tool)
        state = follow(state, torch.full_like(state.steps, tool), successors, psnr_db)
    return float((state.psnr_db - began).mean()), tuple(chain)


@torch.no_grad()
def measure_policy(policy: AnyPolicy, toolbox: Toolbox, images: Tensor, clean: Tensor) -> PolicyReport:
    """Measure a policy on held-out pairs `(B, 3, P, P)`."""
    state = start(images, clean)
    gains, actions = play(policy, toolbox, state)
    shares = torch.bincount(actions[:, 0], minlength=toolbox.stop + 1) / len(actions)
    fixed_db, chain = fixed_chain(toolbox, state, policy.max_steps)
    return PolicyReport(
        policy_db=float(gains.mean()),
        oracle_db=float(oracle_return(toolbox, state, policy.max_steps).mean()),
        fixed_db=fixed_db,
        fixed_chain=chain,
        first_action_entropy=float(torch.special.entr(shares).sum()),
    )
