"""A model's agent, from its folder to a network and back."""

from dataclasses import asdict
from pathlib import Path

import torch

from rlrestore.agent.policy import AnyPolicy, PaperPolicy, Policy, PolicySizes
from rlrestore.errors import ModelError
from rlrestore.model_folder import Arrays, as_written, card_of, read_agent, write_model
from rlrestore.model_folder.card import AgentEntry, ModelCard
from rlrestore.toolbox.networks import channels_last
from rlrestore.toolbox.storage import load_weights, to_arrays, to_tensors, toolbox_entry, weights_of
from rlrestore.toolbox.toolbox import Toolbox


def load_agent(folder: Path, toolbox: Toolbox, device: torch.device | str = "cpu") -> AnyPolicy:
    """Read the agent of a model, ready for use.

    Raises:
        ModelError: The folder, its card or its weights are not what they should be, or the agent was trained
            on other tools.
    """
    entry, arrays = read_agent(folder)
    if entry.tools != toolbox.names:
        raise ModelError(
            f"{card_of(folder)}: the agent chooses among {list(entry.tools)}, "
            f"the toolbox holds {list(toolbox.names)}; train the agent on this toolbox"
        )
    lengths = len(entry.tools), entry.max_steps, entry.stop_margin_db
    policy: AnyPolicy = (
        PaperPolicy(*lengths, entry.start_margins_db)
        if entry.family == PaperPolicy.family
        else Policy(*lengths, PolicySizes(**entry.sizes), entry.start_margins_db)
    )
    load_weights(policy, to_tensors(arrays), weights_of(folder, "agent"))
    channels_last(policy)
    return policy.to(device).eval().requires_grad_(False)


def save_model(folder: Path, toolbox: Toolbox, policy: AnyPolicy, card: ModelCard | None = None) -> None:
    """Write a whole model: tools, agent and card.

    Args:
        folder: The model's folder; made when it does not exist.
        toolbox: The tools.
        policy: The agent that was trained on these tools.
        card: What is said of them, and the precision of the weights on disk.

    Raises:
        RlrestoreError: It cannot be written.
    """
    card = card or ModelCard()
    write_model(folder, card, toolbox_entry(toolbox, card), agent_entry(toolbox, policy, card))


def agent_entry(toolbox: Toolbox, policy: AnyPolicy, card: ModelCard) -> tuple[AgentEntry, Arrays]:
    """Return what a model folder holds of an agent that was trained on a toolbox."""
    entry = AgentEntry(
        policy.family,
        toolbox.names,
        policy.max_steps,
        policy.start_margins_db,
        policy.stop_margin_db,
        asdict(policy.sizes) if isinstance(policy, Policy) else {},
    )
    return entry, as_written(to_arrays(policy.state_dict()), card.precision)
