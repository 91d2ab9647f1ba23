"""Training: reinforcement learning of the memory (Multi-Conv DAPO), and the supervised warm start before it."""
