"""The part of reinforcement learning that needs no PyTorch: problems, rollouts, rewards, credit."""
