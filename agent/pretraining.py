"""Pretraining of an agent's trunk: to predict the degradation of a patch, before any rollout.

That is known of every patch a training makes, and costs no tool; the gains of all tools in one state cost
twelve. So an agent sees many times more patches, and what its features tell of them serves the values that it
learns then.
"""

import math
import time

import torch
import torch.nn.functional as F
from torch import nn

from rlrestore.agent.policy import Policy
from rlrestore.agent.replay import ReplayBuffer
from rlrestore.agent.teacher import strengths
from rlrestore.devices import numbered_generator
from rlrestore.imaging import PATCH
from rlrestore.imaging.patches import PhotoBank
from rlrestore.imaging.recipes import AnyRecipe, draw_pairs
from rlrestore.toolbox.specs import TOOLS

PATCHES = 256
"""Made in a round."""
FITS = 16
BATCH = 256
LEARNING_RATE = 1e-3
SEED = 1 << 20
"""Added to a training's, so that its patches are others."""


def pretrain_trunk(
    policy: Policy,
    bank: PhotoBank,
    recipe: AnyRecipe,
    rounds: int,
    seed: int,
    seconds: float = math.inf,
) -> float:
    """Fit an agent's trunk, with a layer that is then dropped, to the strengths of all distortions.

    Args:
        policy: The agent, on the bank's device; its trunk changes.
        bank: The photographs.
        recipe: What is done to them.
        rounds: How long; each makes `PATCHES` new patches and fits `FITS` times to the replay buffer.
        seed: Of all draws.
        seconds: After which it ends, if the rounds take longer; the first one is always done.

    Returns:
        The mean error of the last round, in tools: 1 is the next tool of the same kind.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        head = nn.Linear(policy.sizes.features, 3)
    network = nn.Sequential(policy.trunk, head.to(bank.device))
    optimizer = torch.optim.Adam(network.parameters(), lr=LEARNING_RATE)
    buffer: ReplayBuffer | None = None
    error = torch.zeros((), device=bank.device)
    began = time.monotonic()
    for number in range(rounds):
        done = max(number / rounds, (time.monotonic() - began) / seconds)
        if number and done >= 1:
            break
        generator = numbered_generator(bank.device, seed + SEED, number)
        for group in optimizer.param_groups:
            group["lr"] = LEARNING_RATE * (1 - min(1.0, done))
        drawn = draw_pairs(bank, recipe, PATCHES, PATCH, generator)
        observations = policy.observe(drawn.degraded)
        policy.trunk.standardise(observations)
        new = ReplayBuffer(
            {"observations": observations.half(), "strengths": strengths(TOOLS, drawn.amounts)}
        )
        with torch.no_grad():
            error = (network(observations) - new["strengths"]).abs().mean()
        buffer = new if buffer is None else buffer.joined(new, rounds * PATCHES)
        _fit(network, buffer, optimizer, generator)
    return float(error)


def _fit(
    network: nn.Module, buffer: ReplayBuffer, optimizer: torch.optim.Optimizer, generator: torch.Generator
) -> None:
    """Fit a network to the replay buffer, `FITS` batches of it, half of them transposed."""
    for _ in range(FITS):
        rows = torch.randint(len(buffer), (BATCH,), generator=generator, device=generator.device)
        batch = buffer.rows(rows)
        if torch.rand((), generator=generator, device=generator.device) < 0.5:
            batch = batch.transposed()
        loss = F.smooth_l1_loss(network(batch["observations"].float()), batch["strengths"])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
