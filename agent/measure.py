"""How good a policy is on pairs it was not trained on, beside the best that the same tools could do."""

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any, Self

import torch
from torch import Tensor

from rlrestore.agent.policy import AnyPolicy
from rlrestore.agent.rollout import Behaviour, greedy, roll_out
from rlrestore.envs.transition import EpisodeState, start
from rlrestore.imaging.metrics import psnr_db
from rlrestore.toolbox.toolbox import Toolbox


@dataclass(frozen=True)
class PolicyReport:
    """Mean returns over held-out episodes, in dB.

    Attributes:
        policy_db: What the agent gains, acting greedily and stopping when it wants to.
        oracle_db: What the tool that really gains most, at every step, gains; it stops when none gains.
        fixed_db: What the best single chain gains when it is taken on every patch; built tool by tool.
        fixed_chain: That chain, as tool indices.
        first_action_entropy: Of the agent's first actions, in nats; near 0 it has collapsed to one tool.
        worse_share: Share of the patches that the agent leaves worse than they came.
    """

    policy_db: float
    oracle_db: float
    fixed_db: float
    fixed_chain: tuple[int, ...]
    first_action_entropy: float
    worse_share: float

    def metrics(self) -> dict[str, float]:
        """Return the numbers for a log."""
        return {
            "return_db": self.policy_db,
            "regret_db": self.oracle_db - self.policy_db,
            "over_fixed_db": self.policy_db - self.fixed_db,
            "first_action_entropy": self.first_action_entropy,
            "worse_share": self.worse_share,
        }

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


@torch.no_grad()
def mean_gain_db(toolbox: Toolbox, choose: Behaviour, images: Tensor, clean: Tensor, max_steps: int) -> float:
    """Return what the chains of a behaviour gain on average over pairs `(B, 3, P, P)`, in dB."""
    rollout = roll_out(toolbox, images, choose, max_steps)
    return float((psnr_db(rollout.images[-1], clean) - psnr_db(images, clean)).mean())


@torch.no_grad()
def tool_usage(toolbox: Toolbox, choose: Behaviour, images: Tensor, max_steps: int) -> dict[str, float]:
    """Return, by the tools' names, the share of patches `(B, 3, P, P)` whose chain takes each tool."""
    actions = roll_out(toolbox, images, choose, max_steps).actions
    tools = torch.arange(toolbox.stop, device=actions.device)
    shares = (actions[..., None] == tools).any(dim=1).float().mean(dim=0)
    return dict(zip(toolbox.names, shares.tolist(), strict=True))


def tool_gains_db(toolbox: Toolbox, images: Tensor, clean: Tensor) -> Tensor:
    """Return `(B, N)` what each of N tools would gain on each of B patches as they are, in dB."""
    after_db = [psnr_db(after, clean) for after in toolbox.apply_all(images).unbind(dim=1)]
    return torch.stack(after_db, dim=1) - psnr_db(images, clean)[:, None]


def best_actions(gains_db: Tensor) -> Tensor:
    """Return the action that gains most, stop (N) where no tool gains: `(…, N)` to `(…,)` int64."""
    best_db, tools = gains_db.max(dim=-1)
    return torch.where(best_db > 0, tools, gains_db.shape[-1])


def greedy_oracle(toolbox: Toolbox, clean: Tensor) -> Behaviour:
    """Choose by the truth: at every step the tool that gains most, stop when none gains."""
    return lambda images, _: best_actions(tool_gains_db(toolbox, images, clean))


def oracle_return(toolbox: Toolbox, state: EpisodeState, max_steps: int) -> Tensor:
    """Return `(B,)` what the greedy oracle gains, in dB."""
    rollout = roll_out(toolbox, state.images, greedy_oracle(toolbox, state.clean), max_steps)
    return psnr_db(rollout.images[-1], state.clean) - state.psnr_db


def every_chain(
    toolbox: Toolbox, images: Tensor, clean: Tensor, max_steps: int
) -> Iterator[tuple[tuple[int, ...], Tensor]]:
    """Run every chain of up to `max_steps` tools, the empty one too; tools of a common beginning run once.

    No more than `max_steps + 1` batches of patches are held at a time.

    Yields:
        The chain as tool indices, and the PSNR `(B,)` in dB that it leaves.
    """
    yield (), psnr_db(images, clean)
    for tool in range(toolbox.stop) if max_steps else ():
        after = toolbox.apply_tool(tool, images)
        for chain, left_db in every_chain(toolbox, after, clean, max_steps - 1):
            yield (tool, *chain), left_db


def fixed_chain(
    toolbox: Toolbox, state: EpisodeState, max_steps: int, batch: int = 64
) -> tuple[float, tuple[int, ...]]:
    """Build the best single chain for all patches tool by tool, each the one that gains most on average.

    Args:
        toolbox: The tools.
        state: The patches.
        max_steps: Tools in the chain at most; it is shorter where no tool gains on average.
        batch: Patches that pass a tool at a time.

    Returns:
        Its mean gain in dB; the chain, as tool indices.
    """
    images, gained_db, chain = state.images, 0.0, []
    for _ in range(max_steps):
        batches = list(zip(images.split(batch), state.clean.split(batch), strict=True))
        gains_db = torch.cat([tool_gains_db(toolbox, *pair) for pair in batches]).mean(dim=0)
        tool = int(gains_db.argmax())
        if float(gains_db[tool]) <= 0:
            break
        chain.append(tool)
        gained_db += float(gains_db[tool])
        images = torch.cat([toolbox.apply_tool(tool, part) for part, _ in batches])
    return gained_db, tuple(chain)


def entropy_nats(actions: Tensor, count: int) -> float:
    """Return the entropy of `(B,)` actions below `count`: 0 if all are one, at most `log(count)`."""
    shares = torch.bincount(actions, minlength=count) / len(actions)
    return float(torch.special.entr(shares).sum())


@dataclass(frozen=True)
class HeldOut:
    """Pairs to measure agents on, with what does not change from one to the next measured once.

    Attributes:
        toolbox: The tools.
        images: `(B, 3, P, P)` degraded.
        clean: `(B, 3, P, P)`.
        oracle_db: Mean gain of the greedy oracle.
        fixed_db: Mean gain of the best fixed chain on these patches.
        fixed_chain: That chain, as tool indices.
    """

    toolbox: Toolbox
    images: Tensor
    clean: Tensor
    oracle_db: float
    fixed_db: float
    fixed_chain: tuple[int, ...]

    @classmethod
    @torch.no_grad()
    def of(cls, toolbox: Toolbox, images: Tensor, clean: Tensor, max_steps: int) -> Self:
        """Measure what the tools can do for degraded and clean patches `(B, 3, P, P)`."""
        state = start(images, clean)
        oracle_db = float(oracle_return(toolbox, state, max_steps).mean())
        return cls(toolbox, images, clean, oracle_db, *fixed_chain(toolbox, state, max_steps))

    @torch.no_grad()
    def measure(self, policy: AnyPolicy) -> PolicyReport:
        """Let an agent restore them."""
        rollout = roll_out(self.toolbox, self.images, greedy(policy), policy.max_steps)
        gains_db = psnr_db(rollout.images[-1], self.clean) - psnr_db(self.images, self.clean)
        return PolicyReport(
            policy_db=float(gains_db.mean()),
            oracle_db=self.oracle_db,
            fixed_db=self.fixed_db,
            fixed_chain=self.fixed_chain,
            first_action_entropy=entropy_nats(rollout.actions[:, 0], self.toolbox.stop + 1),
            worse_share=float((gains_db < 0).float().mean()),
        )
