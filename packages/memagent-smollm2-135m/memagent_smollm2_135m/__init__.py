"""Weights only: memagent's small policy, a LoRA adapter of SmolLM2-135M-Instruct."""
