"""The agent: the policy network that chooses tools, and its training."""
