"""The policy: a causal language model with its tokenizer and chat template, and what a training run needs of it.

A policy on disk is an ordinary Hugging Face folder (a model, or an adapter that names its base) and `memagent.json`,
which says how the policy is used to reading: its prompts and its budget.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import nn
from transformers.utils.logging import disable_progress_bar

from memagent.models.reader_defaults import ReaderDefaults
from memagent.train import attention
from memagent.train.attention import Block, Ragged, Trunk
from memagent.train.speaker import Speaker


class Policy(Speaker):
    """A model that is sampled from and trained.

    Args:
        model: a causal language model of transformers, or one that peft has put an adapter into.
        tokenizer: a fast tokenizer of transformers with a chat template.
    """

    def __init__(self, model: Any, tokenizer: Any, defaults: ReaderDefaults, *, autocast: bool = False) -> None:
        super().__init__(tokenizer, defaults)
        disable_progress_bar()
        model.set_attn_implementation(attention.NAME)
        if autocast:  # it casts what an adapter is given; peft would to float32 before, and all of it back
            for module in model.modules():
                if hasattr(module, "cast_input_dtype_enabled"):
                    module.cast_input_dtype_enabled = False
        self.model = model
        self.stops = frozenset([*_listed(model.generation_config.eos_token_id), self.end])
        self.window: int = model.config.max_position_embeddings
        self._autocast = autocast

    @property
    def device(self) -> torch.device:
        device: torch.device = next(self.model.parameters()).device
        return device

    @property
    def parameters(self) -> list[nn.Parameter]:
        """Those that are trained, in a fixed order."""
        return [parameter for parameter in self.model.parameters() if parameter.requires_grad]

    def hidden(
        self,
        ids_BT: torch.Tensor,
        mask: torch.Tensor | None,
        positions_BT: torch.Tensor,
        cache: Any = None,
        trunks: Sequence[Trunk] = (),
    ) -> Any:
        """The last layer's states, B x T x width.

        Args:
            mask: B x (held + T), which of the tokens in the cache and of these are not padding. None is all of them.
            trunks: what the rows begin with, before what is in the cache.
        """
        with self.precision():
            output = self._decoder()(
                input_ids=ids_BT,
                attention_mask=mask,
                position_ids=positions_BT,
                past_key_values=cache,
                use_cache=cache is not None,
                trunks=trunks,
            )
        return output.last_hidden_state

    def packed(self, ids_T: torch.Tensor, positions_T: torch.Tensor, blocks: Sequence[Block]) -> Any:
        """The last layer's states of a row of conversations, T x width. `blocks` say what attends to what."""
        unread = torch.empty(1, 1, 1, 1, device=self.device)  # instead of a mask, which transformers would make
        fast = self._autocast and self.device.type == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False)
        parted: dict[str, Any] = {"ragged": Ragged.of(blocks, self.device)} if fast else {"blocks": blocks}
        with self.precision():
            output = self._decoder()(
                input_ids=ids_T[None],
                attention_mask=unread,
                position_ids=positions_T[None],
                use_cache=False,
                **parted,
            )
        return output.last_hidden_state[0]

    def logits(self, hidden_ND: torch.Tensor) -> torch.Tensor:
        """Over the vocabulary, in float32."""
        with self.precision():
            logits: torch.Tensor = self.model.get_output_embeddings()(hidden_ND)
        return logits.float()

    def precision(self) -> Any:
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self._autocast)

    def study(self) -> None:
        """Before gradients are wanted. Training mode only where gradient checkpointing needs it: dropout would make the
        trainer's policy another one than the sampler's."""
        old = "is_gradient_checkpointing"  # its name before transformers 5.20
        name = "is_activation_checkpointing" if hasattr(self.model, "is_activation_checkpointing") else old
        self.model.train(getattr(self.model, name))

    def perform(self) -> None:
        """Before it is sampled from, which needs the cache that gradient checkpointing does without."""
        self.model.eval()

    @contextmanager
    def merged(self) -> Iterator[None]:
        """While much is sampled: an adapter is added to the weights once instead of being computed for every token.

        Afterwards the weights are what they were, bit for bit.
        """
        if not hasattr(self.model, "peft_config"):
            yield
            return
        from peft.tuners.tuners_utils import BaseTunerLayer

        bases = [layer.get_base_layer() for layer in self.model.modules() if isinstance(layer, BaseTunerLayer)]
        weights = [base.weight.data for base in bases]
        self.model.merge_adapter(safe_merge=True)  # into copies
        try:
            yield
        finally:
            self.model.unmerge_adapter()
            for base, weight in zip(bases, weights, strict=True):
                base.weight.data = weight

    def save(self, folder: Path) -> None:
        """Weights (of an adapter, where there is one), tokenizer and defaults."""
        # An adapter is saved without its base, which peft would look for on a hub.
        without = {"save_embedding_layers": False} if hasattr(self.model, "peft_config") else {}
        self.model.save_pretrained(folder, safe_serialization=True, **without)
        self.transformers_tokenizer.save_pretrained(folder)
        self.defaults.save(folder)

    def load_weights(self, folder: Path) -> None:
        """The weights that `save` has written, into this policy."""
        if hasattr(self.model, "peft_config"):
            from peft import load_peft_weights, set_peft_model_state_dict

            set_peft_model_state_dict(self.model, load_peft_weights(str(folder), device=str(self.device)))
        else:
            saved = type(self.model).from_pretrained(folder, dtype=self.model.dtype)
            self.model.load_state_dict(saved.state_dict())

    def _decoder(self) -> Any:
        model = self.model.get_base_model() if hasattr(self.model, "get_base_model") else self.model
        return model.get_decoder()


def _listed(value: int | list[int] | None) -> list[int]:
    return [] if value is None else [value] if isinstance(value, int) else list(value)
