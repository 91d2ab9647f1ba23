"""Estimates of the memory that a training run needs on each GPU, from the sizes of the model alone."""

from __future__ import annotations

from dataclasses import dataclass

_LOGITS = 16
"""Bytes for each logit of a micro-batch: logits and gradient in bfloat16; softmax, its product with the logits, and
gradient in float32. verl needs these for the entropy."""
_COMPUTED = 2  # bytes of a number in bfloat16


@dataclass(frozen=True, slots=True)
class ModelSize:
    """The sizes of a transformer."""

    weights: int
    trained: int
    """Weights to train: all, or those of the adapter."""
    layers: int
    hidden: int
    intermediate: int
    vocabulary: int


@dataclass(frozen=True, slots=True)
class GpuMemory:
    """Bytes on each GPU."""

    weights: float
    """The GPU's share of the weights."""
    gradients: float
    optimiser: float
    activations: float
    """What the backward pass needs from each layer."""
    logits: float
    sampler: float
    """The sampler's weights. Its cache takes the rest of the memory that it may use."""

    @property
    def learning(self) -> float:
        """Memory while learning. The sampler sleeps then."""
        return self.weights + self.gradients + self.optimiser + self.activations + self.logits

    @property
    def sampling(self) -> float:
        """Memory while sampling, without the sampler's own."""
        return self.weights + self.optimiser


def estimate(
    size: ModelSize,
    gpus: int,
    micro_tokens: int,
    *,
    kept: int = 4,
    checkpointing: bool = True,
    tensor_parallel: int = 1,
) -> GpuMemory:
    """Estimate the memory on each GPU. FSDP shares out weights, gradients and the optimiser's state.

    Args:
        gpus: GPUs of all nodes.
        micro_tokens: tokens of a micro-batch.
        kept: bytes of a weight, a gradient, and each of AdamW's two moments.
        checkpointing: whether activations are recomputed, so that only the inputs of the layers are kept.
        tensor_parallel: GPUs that share one copy of the sampler's weights.
    """
    inside = 0 if checkpointing else 7 * size.hidden + 4 * size.intermediate  # norms, attention, and the MLP
    return GpuMemory(
        weights=kept * size.weights / gpus,
        gradients=kept * size.trained / gpus,
        optimiser=2 * kept * size.trained / gpus,
        activations=_COMPUTED * micro_tokens * size.layers * (size.hidden + inside),
        logits=_LOGITS * micro_tokens * size.vocabulary,
        sampler=_COMPUTED * size.weights / tensor_parallel,
    )
