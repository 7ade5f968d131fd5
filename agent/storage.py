"""The agent's part of a model folder."""

import math
from collections.abc import Mapping
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

import torch

from rlrestore.agent.policy import POLICIES, AnyPolicy, PaperPolicy, Policy, PolicySizes
from rlrestore.errors import ModelError
from rlrestore.toolbox.networks import channels_last
from rlrestore.toolbox.storage import (
    CARD,
    as_written,
    describe_toolbox,
    fit_weights,
    read_card,
    read_part,
    toolbox_weights,
    write_model,
)
from rlrestore.toolbox.toolbox import Toolbox

LARGEST_SIZE = 4096
"""Beyond it a card is taken for damaged, before the memory for its agent is asked for."""


def save_model(folder: Path, toolbox: Toolbox, policy: AnyPolicy, card: Mapping[str, Any]) -> None:
    """Write a whole model: tools, agent and card.

    Args:
        folder: The model's folder.
        toolbox: The tools.
        policy: The agent that was trained on these tools.
        card: What is said about them; its `precision` is that of the weights on disk, float16 without it.
    """
    agent: dict[str, Any] = {
        "family": policy.family,
        "tools": list(toolbox.names),
        "patch_size": policy.patch_size,
        "max_steps": policy.max_steps,
        "caution_db": policy.stop_margin_db,
    }
    if isinstance(policy, Policy):
        agent["sizes"] = asdict(policy.sizes)
    parts = {"toolbox": toolbox_weights(toolbox, card), "agent": as_written(policy.state_dict(), card)}
    write_model(folder, {**card, "toolbox": describe_toolbox(toolbox), "agent": agent}, parts)


def load_agent(folder: Path, toolbox: Toolbox, device: torch.device | str = "cpu") -> AnyPolicy:
    """Read the agent of a model, ready for use.

    Raises:
        ModelError: The folder, its card or its weights are not what they should be, or the agent was trained
            on other tools.
    """
    card = read_card(folder)
    tensors = read_part(folder, card, "agent")
    entry = card["agent"]
    if entry.get("tools") != list(toolbox.names):
        raise ModelError(
            f"{folder / CARD}: the agent chooses among {entry.get('tools')}, "
            f"the toolbox holds {list(toolbox.names)}; train the agent on this toolbox"
        )
    sizes = entry.get("patch_size"), entry.get("max_steps")
    if not all(isinstance(size, int) and 1 <= size <= 1024 for size in sizes):
        raise ModelError(f"{folder / CARD}: expected patch_size and max_steps as whole numbers, got {sizes}")
    stop_margin_db = entry.get("caution_db", 0.0)
    if not isinstance(stop_margin_db, int | float) or not 0 <= stop_margin_db < math.inf:
        raise ModelError(f"{folder / CARD}: expected caution_db as a number from 0, got {stop_margin_db!r}")
    family = entry.get("family")
    if not isinstance(family, str) or family not in POLICIES:
        raise ModelError(
            f"{folder / CARD}: expected an agent of family {' or '.join(POLICIES)}, got {family!r}; "
            "train the agent anew on these tools, or update rlrestore"
        )
    policy: AnyPolicy = (
        PaperPolicy(len(toolbox.names), *sizes, stop_margin_db)
        if family == PaperPolicy.family
        else Policy(len(toolbox.names), *sizes, stop_margin_db, _policy_sizes(folder, entry))
    )
    fit_weights(policy, tensors, folder, "agent")
    channels_last(policy)
    return policy.to(device).eval().requires_grad_(False)


def _policy_sizes(folder: Path, entry: Mapping[str, Any]) -> PolicySizes:
    """Return how large a card says that its agent is.

    Raises:
        ModelError: It does not say so, or something senseless.
    """
    sizes, names = entry.get("sizes"), [field.name for field in fields(PolicySizes)]
    given = dict(sizes) if isinstance(sizes, dict) else {}
    whole = all(isinstance(size, int) and 1 <= size <= LARGEST_SIZE for size in given.values())
    if sorted(given) != sorted(names) or not whole:
        raise ModelError(
            f"{folder / CARD}: expected the agent's sizes, {', '.join(names)}, as whole numbers from 1 to "
            f"{LARGEST_SIZE}, got {sizes!r}; copy the model again"
        )
    return PolicySizes(**given)
