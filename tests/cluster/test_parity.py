"""verl's credit and loss against memagent's own, on random batches of readings of different lengths."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

pytest.importorskip("verl")

import numpy
import torch
from tensordict import TensorDict
from verl.protocol import DataProto
from verl.trainer.ppo.core_algos import agg_loss
from verl.trainer.ppo.v1.utils import compute_advantage_for_multi_trajectories
from verl.utils import tensordict_utils
from verl.utils.config import omega_conf_to_dataclass

from memagent.cluster.launch import composed
from memagent.cluster.multi_conv import whole_batch_loss
from memagent.rl.credit import advantages, token_weights
from memagent.train.loss import Clip, divergence, policy_loss

BATCHES = 1000


@dataclass(frozen=True)
class Row:
    """A conversation: its key in verl, the lengths of its prompt and completion, and its rollout's reward."""

    key: str
    prompt: int
    tokens: int
    reward: float


@dataclass(frozen=True)
class Batch:
    """Problems, their rollouts, and the conversations of each rollout."""

    problems: list[list[list[Row]]]

    @property
    def rows(self) -> list[Row]:
        return [row for rollouts in self.problems for rows in rollouts for row in rows]


def batches(many: int = BATCHES) -> Iterator[tuple[random.Random, Batch]]:
    for seed in range(many):
        chance = random.Random(seed)
        problems = []
        for problem in range(chance.randint(1, 4)):
            rollouts = []
            for session in range(chance.randint(2, 5)):
                reward = chance.choice([0.0, 0.25, 1.0])
                rows = [
                    Row(f"p{problem}_{session}_{number}", chance.randint(1, 5), chance.randint(1, 7), reward)
                    for number in range(chance.randint(1, 5))
                ]
                rollouts.append(rows)
            problems.append(rollouts)
        yield chance, Batch(problems)


def own_advantages(batch: Batch, divide_by_std: bool = False) -> list[float]:
    """Return the advantage of each row."""
    return [
        advantage
        for rollouts in batch.problems
        for rows, advantage in zip(
            rollouts, advantages([rows[0].reward for rows in rollouts], divide_by_std), strict=True
        )
        for _ in rows
    ]


def test_credit() -> None:
    """The order of the rows must not matter, because verl balances them between its workers."""
    for chance, batch in batches():
        rows = list(batch.rows)
        meant = dict(zip((row.key for row in rows), own_advantages(batch), strict=True))
        chance.shuffle(rows)
        longest = max(row.tokens for row in rows)
        mask = torch.tensor([[1] * row.tokens + [0] * (longest - row.tokens) for row in rows])
        rewards = torch.zeros(mask.shape)
        for place, row in enumerate(rows):
            rewards[place, row.tokens - 1] = row.reward
        data = DataProto(
            TensorDict({"token_level_rewards": rewards, "response_mask": mask}, batch_size=len(rows)),
            {"uid": numpy.array([row.key.partition("_")[0] for row in rows], dtype=object)},
        )
        keys = [row.key for row in rows]
        found = compute_advantage_for_multi_trajectories(data, keys, "grpo", norm_adv_by_std_in_grpo=False)
        for row, values, on in zip(rows, found.batch["advantages"], mask.bool(), strict=True):
            assert values[on].tolist() == pytest.approx([meant[row.key]] * row.tokens, abs=1e-6)
            assert values[~on].tolist() == [0.0] * (longest - row.tokens)


def nested(values: list[torch.Tensor]) -> torch.Tensor:
    return torch.nested.as_nested_tensor(values, layout=torch.jagged)


def actor_config(clip: Clip, kl: float) -> Any:
    settings = [
        "actor_rollout_ref.rollout.name=vllm",
        "actor_rollout_ref.actor.strategy=fsdp2",
        "actor_rollout_ref.actor.ppo_micro_batch_size_per_gpu=1",
        "actor_rollout_ref.rollout.n=2",
        f"actor_rollout_ref.actor.clip_ratio_low={clip.low}",
        f"actor_rollout_ref.actor.clip_ratio_high={clip.high}",
        f"actor_rollout_ref.actor.clip_ratio_c={clip.dual or 1e6}",
        f"actor_rollout_ref.actor.use_kl_loss={kl > 0}",
        f"actor_rollout_ref.actor.kl_loss_coef={kl}",
    ]
    return omega_conf_to_dataclass(composed(settings).actor_rollout_ref.actor)


@pytest.mark.parametrize(("clip", "kl"), [(Clip(), 0.0), (Clip(0.2, 0.2, 3.0), 0.1)], ids=["clipped", "dual and KL"])
def test_loss(clip: Clip, kl: float) -> None:
    """The losses of all steps add up to `steps` times the mean over all tokens, and so do the gradients."""
    config = actor_config(clip, kl)
    for chance, batch in batches():
        rows, steps = batch.rows, chance.randint(1, 3)
        generator = torch.Generator().manual_seed(chance.randrange(1 << 30))
        drawn = [torch.randn(3, row.prompt + row.tokens, generator=generator) for row in rows]
        now = [(-each[0].abs()).requires_grad_() for each in drawn]
        sampled = [(one.detach() + 0.5 * each[1]) for one, each in zip(now, drawn, strict=True)]
        reference = [(one.detach() + 0.5 * each[2]) for one, each in zip(now, drawn, strict=True)]
        advantage = own_advantages(batch)

        def completion(values: torch.Tensor, row: Row) -> torch.Tensor:
            return values[row.prompt - 1 : row.prompt - 1 + row.tokens]  # a logit predicts the next token

        tokens = sum(row.tokens for row in rows)
        theirs = torch.zeros(())
        for step in range(steps):
            part = list(range(step, len(rows), steps))
            if not part:
                continue
            data = TensorDict(
                {
                    "prompts": nested([torch.zeros(rows[n].prompt) for n in part]),
                    "responses": nested([torch.zeros(rows[n].tokens) for n in part]),
                    "response_mask": nested([torch.ones(rows[n].tokens) for n in part]),
                    "old_log_probs": nested([completion(sampled[n], rows[n]) for n in part]),
                    "ref_log_prob": nested([completion(reference[n], rows[n]) for n in part]),
                    "advantages": nested([torch.full((rows[n].tokens,), advantage[n]) for n in part]),
                },
                batch_size=len(part),
            )
            tensordict_utils.assign_non_tensor(
                data, dp_size=1, batch_num_tokens=-1, global_batch_size=len(part), tokens_per_step=tokens / steps
            )
            loss, _ = whole_batch_loss(config, {"log_probs": nested([now[n] for n in part])}, data)
            theirs = theirs + loss
        [own_weight] = set(token_weights([[row.tokens for row in rows]]))
        flat = [
            torch.cat([completion(each[n], rows[n]) for n in range(len(rows))]) for each in (now, sampled, reference)
        ]
        weights = torch.full((tokens,), own_weight * steps)
        spread = torch.cat([torch.full((row.tokens,), value) for row, value in zip(rows, advantage, strict=True)])
        ours, _ = policy_loss(flat[0], flat[1], spread, weights, clip)
        ours = ours + kl * (weights * divergence(flat[0], flat[2])).sum()
        assert theirs.item() == pytest.approx(ours.item(), rel=1e-4, abs=1e-6)
        gradients = [torch.cat(torch.autograd.grad(loss, now, retain_graph=True)) for loss in (theirs, ours)]
        torch.testing.assert_close(*gradients, rtol=1e-4, atol=1e-6)


def test_verls_own_token_mean_is_the_same_for_one_step() -> None:
    """With one optimiser step, verl's mean over the mini-batch is the mean over the batch."""
    for chance, batch in batches(100):
        lengths = [row.tokens for row in batch.rows]
        generator = torch.Generator().manual_seed(chance.randrange(1 << 30))
        losses = torch.randn(len(lengths), max(lengths), generator=generator)
        mask = torch.tensor([[1.0] * length + [0.0] * (max(lengths) - length) for length in lengths])
        found = agg_loss(losses, mask, "token-mean", batch_num_tokens=sum(lengths))
        [weight] = set(token_weights([lengths]))
        assert found.item() == pytest.approx((weight * losses * mask).sum().item(), abs=1e-6)
