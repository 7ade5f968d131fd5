"""What a model card says of the trainings that the model went through."""

import argparse
import shlex
import sys
from collections.abc import Mapping, Sequence, Set
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rlrestore.model_folder.card import ModelCard, Record


def training_record(stage: str, args: argparse.Namespace, photographs: int, **more: Any) -> dict[str, Any]:
    """Return what a model card says of a training.

    Args:
        stage: What was trained: `tools`, `agent`, or both together, `joint`.
        args: The command line.
        photographs: How many were trained on, each scale counted.
        more: What came of it.
    """
    from rlrestore.toolbox.ranks import rank_count

    processes = {"processes": rank_count()} if rank_count() > 1 else {}
    made = {
        "command": shlex.join(["rlrestore", *sys.argv[1:]]),
        "data": f"{photographs} photographs (scales counted)",
        "seed": args.seed,
        "device": args.device,
    }
    return {"stage": stage, **made, **processes, **more}


def tool_records(card: "ModelCard") -> tuple["Record", ...]:
    """Return what a card says of the training of its tools: all that stays true of another agent's model."""
    return tuple(record for record in card.training if record.get("stage") != "agent")


def agent_records(card: "ModelCard") -> tuple["Record", ...]:
    """Return what a card says of the training of its agent alone."""
    return tuple(record for record in card.training if record.get("stage") == "agent")


def lasting_card(card: "ModelCard") -> "ModelCard":
    """Return what a card says that stays true when tools are trained on: its origin, its tools' training."""
    from rlrestore.model_folder.card import ModelCard

    facts = {key: value for key, value in card.facts.items() if key not in ("note", "scores")}
    return ModelCard(card.name, training=tool_records(card), pieces=card.pieces, facts=facts)


def without_superseded(records: Sequence["Record"], tools: Set[str], anew: bool) -> tuple["Record", ...]:
    """Return what stays true of the trainings of a model when some of its tools are trained again.

    Args:
        records: Of the model's card.
        tools: Names of the tools that are trained again.
        anew: Whether they begin from nothing, which makes all their trainings void. Otherwise the last
            training of each goes on, and its new record covers the old one.
    """
    lasting, left = [], set(tools)
    for record in reversed(records):
        networks = record.get("networks", []) if record.get("stage") == "tools" else []
        others = [network for network in networks if network["network"] not in left]
        if not anew:
            left -= {network["network"] for network in networks}
        if len(others) == len(networks):
            lasting.append(record)
        elif others:
            lasting.append({**record, **tool_totals(others)})
    return tuple(reversed(lasting))


def tool_totals(networks: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return what a card says of trained tools together and one by one.

    Args:
        networks: A record for each tool, of `ToolReport.record`.
    """
    return {
        "minutes": round(sum(network["seconds"] for network in networks) / 60, 1),
        "steps": sum(network["steps"] for network in networks),
        "networks": list(networks),
    }
