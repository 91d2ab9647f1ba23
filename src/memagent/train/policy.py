"""The policy: a causal language model with its tokenizer and chat template, and the operations that training needs.

A policy on disk is an ordinary Hugging Face folder (a model, or an adapter that names its base) with `memagent.json`,
which holds the prompts, the budget and the reader that the policy was trained with.
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
from memagent.rl.speaker import Speaker
from memagent.train import attention
from memagent.train.attention import Block, Ragged, Trunk


class Policy(Speaker):
    """A model to sample from and to train.

    Args:
        model: a causal language model of transformers, with or without a peft adapter.
        tokenizer: a fast tokenizer of transformers with a chat template.
    """

    def __init__(self, model: Any, tokenizer: Any, defaults: ReaderDefaults, *, autocast: bool = False) -> None:
        super().__init__(tokenizer, defaults)
        disable_progress_bar()
        model.set_attn_implementation(attention.NAME)
        if autocast:  # it casts the inputs of adapters; peft would cast them to float32 first, and everything back
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
        """The trained parameters, in a fixed order."""
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
            mask: B x (cached + T), which tokens in the cache and in `ids_BT` are not padding; None means all.
            trunks: the shared prefixes of the rows, which come before the tokens in the cache.
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
        """The last layer's states of a row of conversations, T x width. `blocks` says which tokens attend to which."""
        unread = torch.empty(1, 1, 1, 1, device=self.device)  # replaces the mask that transformers would make
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
        """Logits over the vocabulary, in float32."""
        with self.precision():
            logits: torch.Tensor = self.model.get_output_embeddings()(hidden_ND)
        return logits.float()

    def precision(self) -> Any:
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self._autocast)

    def study(self) -> None:
        """Prepare for gradients. Training mode is on only if gradient checkpointing needs it: dropout would make the
        trainer's policy differ from the sampler's."""
        old = "is_gradient_checkpointing"  # its name before transformers 5.20
        name = "is_activation_checkpointing" if hasattr(self.model, "is_activation_checkpointing") else old
        self.model.train(getattr(self.model, name))

    def perform(self) -> None:
        """Prepare for sampling, which needs the cache; gradient checkpointing works without it."""
        self.model.eval()

    @contextmanager
    def merged(self) -> Iterator[None]:
        """Merge an adapter into the weights while sampling, instead of computing it for every token.

        Afterwards the weights are what they were before, bit for bit.
        """
        if not hasattr(self.model, "peft_config"):
            yield
            return
        from peft.tuners.tuners_utils import BaseTunerLayer

        bases = [layer.get_base_layer() for layer in self.model.modules() if isinstance(layer, BaseTunerLayer)]
        weights = [base.weight.data for base in bases]
        self.model.merge_adapter(safe_merge=True)  # merges into copies
        try:
            yield
        finally:
            self.model.unmerge_adapter()
            for base, weight in zip(bases, weights, strict=True):
                base.weight.data = weight

    def save(self, folder: Path) -> None:
        """Write the weights (only the adapter's, if there is one), the tokenizer and the defaults."""
        # An adapter is saved without embedding layers; peft would look up its base on the hub to decide that.
        without = {"save_embedding_layers": False} if hasattr(self.model, "peft_config") else {}
        self.model.save_pretrained(folder, safe_serialization=True, **without)
        self.transformers_tokenizer.save_pretrained(folder)
        self.defaults.save(folder)

    def load_weights(self, folder: Path) -> None:
        """Load weights that `save` has written into this policy."""
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
