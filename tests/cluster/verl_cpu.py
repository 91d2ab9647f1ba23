"""verl on a machine without a GPU: a training engine and a sampler, so that tests can run all of verl.

verl loads `cpu_platform` and this module in each of its processes, because VERL_USE_EXTERNAL_MODULES names them.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Generator, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import ray
import torch
from verl.workers import engine_workers
from verl.workers.engine import EngineRegistry
from verl.workers.engine.fsdp.transformer_impl import FSDPEngineWithLMHead
from verl.workers.rollout import base
from verl.workers.rollout.base import BaseRollout
from verl.workers.rollout.replica import RolloutReplica, RolloutReplicaRegistry, TokenOutput

from memagent.models.chat import Sampling
from memagent.train.generation import Work, sample
from memagent.train.loading import load_policy

NAME = "memagent_cpu"


# verl asks for "cpu:gloo" and "cpu:gloo", which PyTorch refuses.
engine_workers.initialize_global_process_group_ray = partial(
    engine_workers.initialize_global_process_group_ray, backend="gloo"
)
EngineRegistry.register(model_type="language_model", backend=["fsdp", "fsdp2"], device="cpu")(
    type("CpuEngine", (FSDPEngineWithLMHead,), {})
)


@dataclass(slots=True)
class _Batch:
    prompts: list[Sequence[int]] = field(default_factory=list)
    limits: list[int] = field(default_factory=list)
    running: asyncio.Task[list[Any]] | None = None


class CpuServer:
    """Samples with memagent's own sampler. Requests that come while it samples form the next batch."""

    def __init__(self, model: str, seed: int) -> None:
        torch.set_num_threads(1)
        self._policy = load_policy(Path(model))
        self._random = torch.Generator().manual_seed(seed)
        self._turn = asyncio.Lock()
        self._next = _Batch()
        self._steps = 0

    async def generate(
        self, request_id: str, prompt_ids: list[int], sampling_params: dict[str, Any], **_: Any
    ) -> TokenOutput:
        batch = self._next
        batch.prompts.append(prompt_ids)
        batch.limits.append(sampling_params["max_tokens"])
        place = len(batch.prompts) - 1
        if batch.running is None:
            batch.running = asyncio.create_task(self._run(batch, sampling_params["temperature"]))
        found = (await asyncio.shield(batch.running))[place]
        return TokenOutput(
            token_ids=list(found.ids),
            log_probs=list(found.logprobs),
            stop_reason="completed",
            extra_fields={"global_steps": self._steps},
        )

    async def _run(self, batch: _Batch, temperature: float) -> list[Any]:
        async with self._turn:
            await asyncio.sleep(0.005)  # for the other requests of the wave
            self._next = _Batch()
            sampling = Sampling(temperature)
            return await asyncio.to_thread(
                sample, self._policy, batch.prompts, batch.limits, sampling, self._random, Work()
            )

    async def update_weights(self, weights: dict[str, torch.Tensor], steps: int | None) -> None:
        async with self._turn:
            own = self._policy.model.state_dict()
            unknown = weights.keys() - own.keys()
            assert not unknown, unknown
            self._policy.model.load_state_dict(weights, strict=False)
            self._steps = steps or 0

    async def nothing(self, *_: Any, **__: Any) -> None:
        """Sleep, wake up, clear caches, profile: there is nothing to do on a CPU."""

    sleep = wake_up = abort_all_requests = resume_generation = clear_kv_cache = nothing
    release_kv_cache = resume_kv_cache = start_profile = stop_profile = nothing


class CpuReplica(RolloutReplica):
    """One CpuServer in a process of its own."""

    async def launch_servers(self) -> None:
        actor = ray.remote(CpuServer).options(name=_server(self.replica_rank), num_cpus=0, max_concurrency=1000)
        server = actor.remote(self.model_config.path, self.config.seed + self.replica_rank)
        self.servers, self._server_handle, self._server_address = [server], server, f"cpu-{self.replica_rank}"


class CpuRollout(BaseRollout):
    """Passes the weights of a training process on to its CpuServer."""

    def __init__(self, config: Any, model_config: Any, device_mesh: Any, **more: Any) -> None:
        super().__init__(config, model_config, device_mesh)
        self._rank = torch.distributed.get_rank()

    async def resume(self, tags: list[str]) -> None:
        pass

    async def release(self) -> None:
        pass

    async def update_weights(
        self,
        weights: Generator[tuple[str, torch.Tensor], None, None],
        global_steps: int | None = None,
        wire_format: str = "named_tensors",
        **more: Any,
    ) -> None:
        assert wire_format == "named_tensors"
        if isinstance(weights, AsyncIterator):
            found = {name: tensor.detach().clone() async for name, tensor in weights}
        else:
            found = {name: tensor.detach().clone() for name, tensor in weights}
        await ray.get_actor(_server(self._rank)).update_weights.remote(found, global_steps)


def _server(rank: int) -> str:
    return f"memagent_cpu_server_{rank}"


RolloutReplicaRegistry.register(NAME, lambda: CpuReplica)
base._ROLLOUT_REGISTRY[NAME, "async"] = f"{__name__}.CpuRollout"

SETTINGS = (
    "trainer.device=cpu",
    "actor_rollout_ref.model.use_remove_padding=False",
    "+actor_rollout_ref.model.override_config.attn_implementation=eager",
    "actor_rollout_ref.actor.fsdp_config.use_torch_compile=False",
    "actor_rollout_ref.actor.use_torch_compile=False",
    "actor_rollout_ref.actor.fsdp_config.dtype=float32",
    "+actor_rollout_ref.actor.fsdp_config.mixed_precision={param_dtype:fp32,reduce_dtype:fp32,buffer_dtype:fp32}",
    "actor_rollout_ref.rollout.agent.num_workers=1",
    "actor_rollout_ref.rollout.load_format=auto",
    "reward.num_workers=1",
    "transfer_queue.backend.SimpleStorage.num_data_storage_units=1",
    "ray_kwargs.ray_init.num_cpus=8",
    "+ray_kwargs.ray_init.include_dashboard=False",
    "+ray_kwargs.ray_init.num_gpus=8",
)
"""Settings of verl on a machine without a GPU."""
