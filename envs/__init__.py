"""The environment: one pure transition, and its single, batched and stable-baselines3 forms.

Importing this package registers `rlrestore/Restoration-v0` with gymnasium; torch is loaded when one is made.
"""

import gymnasium

ENV_ID = "rlrestore/Restoration-v0"

if ENV_ID not in gymnasium.registry:
    gymnasium.register(
        ENV_ID,
        entry_point="rlrestore.envs.single:RestorationEnv",
        vector_entry_point="rlrestore.envs.batched:BatchedRestorationEnv",
    )
