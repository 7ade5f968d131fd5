"""The environment: one pure transition, and its single, batched and stable-baselines3 forms.

Importing this package registers `rlrestore/Restoration-v1` with gymnasium, and `-v0` for programs that name
it; torch is loaded when one is made. gymnasium's checking wrappers are left out: the environment itself
refuses a step before a reset and actions that do not exist.
"""

from typing import TYPE_CHECKING

import gymnasium

from rlrestore.lazy import lazy_names

if TYPE_CHECKING:
    from rlrestore.envs.batched import BatchedRestorationEnv
    from rlrestore.envs.sb3 import RestorationVecEnv
    from rlrestore.envs.single import RestorationEnv
    from rlrestore.envs.sources import MixtureSource
    from rlrestore.envs.vector import RestorationVectorEnv

__all__ = [
    "ENV_ID",
    "BatchedRestorationEnv",
    "MixtureSource",
    "RestorationEnv",
    "RestorationVecEnv",
    "RestorationVectorEnv",
]

__getattr__, __dir__ = lazy_names(
    __name__,
    {
        "batched": ("BatchedRestorationEnv",),
        "recipes": (),
        "sb3": ("RestorationVecEnv",),
        "single": ("RestorationEnv",),
        "sources": ("MixtureSource",),
        "vector": ("RestorationVectorEnv",),
    },
)

ENV_ID = "rlrestore/Restoration-v1"

VECTOR_ENTRY_POINTS = {
    "rlrestore/Restoration-v0": "rlrestore.envs.batched:BatchedRestorationEnv",
    ENV_ID: "rlrestore.envs.vector:make_vector_env",
}

for env_id, vector_entry_point in VECTOR_ENTRY_POINTS.items():
    if env_id not in gymnasium.registry:
        gymnasium.register(
            env_id,
            entry_point="rlrestore.envs.single:RestorationEnv",
            vector_entry_point=vector_entry_point,
            order_enforce=False,
            disable_env_checker=True,
        )
