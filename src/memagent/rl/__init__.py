"""Reinforcement learning of a memory, the part without PyTorch: problems, rewards, credit."""
