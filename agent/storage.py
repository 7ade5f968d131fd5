"""The agent's part of a model folder."""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from rlrestore.agent.policy import POLICIES, AnyPolicy
from rlrestore.errors import ModelError
from rlrestore.toolbox.networks import channels_last
from rlrestore.toolbox.storage import CARD, describe_toolbox, load_weights, read_card, read_part, write_model
from rlrestore.toolbox.toolbox import Toolbox


def save_model(folder: Path, toolbox: Toolbox, policy: AnyPolicy, card: Mapping[str, Any]) -> None:
    """Write a whole model: tools, agent and card.

    Args:
        folder: The model's folder.
        toolbox: The tools.
        policy: The agent that was trained on these tools.
        card: What is said about them.
    """
    agent = {
        "family": policy.family,
        "tools": list(toolbox.names),
        "patch_size": policy.patch_size,
        "max_steps": policy.max_steps,
        "caution_db": policy.stop_margin_db,
    }
    parts = {"toolbox": toolbox.networks.state_dict(), "agent": policy.state_dict()}
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
    policy = POLICIES[family](len(toolbox.names), *sizes, stop_margin_db)
    load_weights(policy, tensors, str(folder / "agent.safetensors"))
    channels_last(policy)
    return policy.to(device).eval().requires_grad_(False)
