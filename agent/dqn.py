"""Deep Q-learning from the actions taken, as the paper learns; for comparison.

Rollouts of whole episodes are ε-greedy, with stop among the actions; the recurrent network is fitted
to reward plus the value of what follows, by a copy of itself that is renewed every round. A step runs one
tool where `qlearning` runs all, and teaches one value where that teaches all.

Source: paper, section 4.1, and the authors' released code; deep Q-learning from Mnih et al., Nature 2015,
recurrent from Hausknecht and Stone, 2015.
"""

import copy
from dataclasses import dataclass, field

import torch
from torch import Tensor

from rlrestore.agent.policy import AnyPolicy
from rlrestore.agent.qlearning import WORST_VALUE_DB, values_along
from rlrestore.agent.replay import ReplayBuffer
from rlrestore.envs.sources import PairSource
from rlrestore.envs.transition import start, transition
from rlrestore.imaging.rewards import Reward
from rlrestore.toolbox.toolbox import Tools

FIRST_EXPLORATION, LAST_EXPLORATION = 1.0, 0.1
EXPLORING_SHARE = 0.5
"""Share of the training over which the exploration falls, linearly, from the first to the last."""


@dataclass
class TakenActions:
    """Recurrent deep Q-learning.

    Attributes:
        discount: How much a later gain counts beside one now.
        reward: What a step is rewarded with.
        target: The copy of the policy that values what follows; renewed every round.
    """

    discount: float = 0.99
    reward: Reward = field(default="psnr", repr=False)  # checkpoints name it only where it is another
    target: AnyPolicy | None = field(default=None, init=False, repr=False)

    @torch.no_grad()
    def collect(
        self,
        policy: AnyPolicy,
        toolbox: Tools,
        source: PairSource,
        count: int,
        done: float,
        generator: torch.Generator,
    ) -> tuple[ReplayBuffer, int]:
        """Make ε-greedy rollouts of whole episodes; see `Learning.collect`.

        Columns, one entry for each step: `observations`, `last_actions`, `actions`, `rewards_db` and `alive`
        `(N, T)`: whether the episode had not yet ended.
        """
        self.target = copy.deepcopy(policy)
        device = generator.device
        fallen = min(1.0, done / EXPLORING_SHARE)
        exploration = FIRST_EXPLORATION + fallen * (LAST_EXPLORATION - FIRST_EXPLORATION)
        state = start(*source(count, generator))
        hidden = policy.initial_state(count)
        alive = torch.ones(count, dtype=torch.bool, device=device)
        steps: list[tuple[Tensor, ...]] = []
        for _ in range(policy.max_steps):
            observations = policy.observe(state.images.clamp(0, 1))
            values, hidden = policy.step(policy.trunk(observations), state.last_action, hidden)
            random = torch.randint(toolbox.stop + 1, (count,), generator=generator, device=device)
            explore = torch.rand(count, generator=generator, device=device) < exploration
            actions = torch.where(explore, random, values.argmax(dim=1))
            actions = torch.where(alive, actions, toolbox.stop)
            moved = transition(
                toolbox, state, actions, policy.max_steps, stop_when_worse=True, reward=self.reward
            )
            rewards = moved.reward.clamp(min=WORST_VALUE_DB)
            steps.append((observations.half(), state.last_action, actions, rewards, alive))
            alive = alive & ~moved.terminated
            state = moved.state
        names = ("observations", "last_actions", "actions", "rewards_db", "alive")
        columns = (torch.stack(column, dim=1) for column in zip(*steps, strict=True))
        episodes = ReplayBuffer(dict(zip(names, columns, strict=True)))
        return episodes, int(episodes["alive"].sum())

    def loss(self, policy: AnyPolicy, batch: ReplayBuffer) -> dict[str, Tensor]:
        """Return the mean squared error of the values of the actions taken, in dB²; see `Learning.loss`."""
        alive = batch["alive"]
        values = values_along(policy, batch["observations"], batch["last_actions"])
        taken = values.gather(2, batch["actions"][..., None])[..., 0]
        with torch.no_grad():
            best = values_along(self.target or policy, batch["observations"], batch["last_actions"]).amax(
                dim=2
            )
            follows = torch.zeros_like(best)
            follows[:, :-1] = torch.where(alive[:, 1:], best[:, 1:], 0.0)
            wanted = batch["rewards_db"] + self.discount * follows
        errors = torch.where(alive, taken - wanted, 0.0)
        return {"value": errors.square().sum() / alive.sum()}
