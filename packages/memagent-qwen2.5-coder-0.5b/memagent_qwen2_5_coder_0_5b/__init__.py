"""Weights only: memagent's default policy, a LoRA adapter of Qwen2.5-Coder-0.5B-Instruct."""
