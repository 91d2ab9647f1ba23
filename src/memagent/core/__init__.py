"""Shared by all rooms: values, prompts, budgets, cutting, counting and scoring. Pure: no I/O, no PyTorch."""
