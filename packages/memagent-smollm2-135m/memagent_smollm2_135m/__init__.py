"""Weights only: memagent's default policy, a LoRA adapter of SmolLM2-135M-Instruct."""
