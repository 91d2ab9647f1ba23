"""Training: reinforcement learning (Multi-Conv DAPO), and the supervised warm start before it."""
