"""The agent: the policy network that chooses tools, and its training."""

from typing import TYPE_CHECKING

from rlrestore.lazy import lazy_names

if TYPE_CHECKING:
    from rlrestore.agent.dqn import TakenActions
    from rlrestore.agent.joint import JointSettings
    from rlrestore.agent.learn import train_agent, train_joint
    from rlrestore.agent.measure import PolicyReport
    from rlrestore.agent.policy import PaperPolicy, Policy, PolicySizes
    from rlrestore.agent.ppo import PpoSettings, train_ppo
    from rlrestore.agent.qlearning import TriedActions
    from rlrestore.agent.storage import load_agent, save_model
    from rlrestore.agent.training import AgentSettings

__all__ = [
    "AgentSettings",
    "JointSettings",
    "PaperPolicy",
    "Policy",
    "PolicyReport",
    "PolicySizes",
    "PpoSettings",
    "TakenActions",
    "TriedActions",
    "load_agent",
    "save_model",
    "train_agent",
    "train_joint",
    "train_ppo",
]

__getattr__, __dir__ = lazy_names(
    __name__,
    {
        "dqn": ("TakenActions",),
        "joint": ("JointSettings",),
        "learn": (
            "train_agent",
            "train_joint",
        ),
        "measure": ("PolicyReport",),
        "policy": (
            "PaperPolicy",
            "Policy",
            "PolicySizes",
        ),
        "ppo": (
            "PpoSettings",
            "train_ppo",
        ),
        "qlearning": ("TriedActions",),
        "storage": (
            "load_agent",
            "save_model",
        ),
        "training": ("AgentSettings",),
    },
)
