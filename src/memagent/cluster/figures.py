"""The figures of a training step, under the names that memagent's own trainer gives them."""

from __future__ import annotations

from collections.abc import Mapping
from statistics import fmean
from typing import Any

import transfer_queue
from verl.trainer.ppo.v1.replay_buffer import DAPO_FILTERED_REWARD_COUNTS_KEY

_SAME = {
    "loss": "actor/loss",
    "norm": "actor/grad_norm",
    "entropy": "actor/entropy_loss",  # the entropy itself, as a mean over the tokens
    "moved": "actor/ppo_kl",
    "clipped": "actor/pg_clipfrac",
    "kl": "actor/kl_loss",
    "learning_rate": "actor/lr",
}


def figures_of(
    batch: Any, metrics: Mapping[str, Any], seconds: Mapping[str, float], problems: int, group: int
) -> dict[str, float]:
    """Return the figures of a step.

    Args:
        batch: the rows of the step, in the TransferQueue.
        metrics: verl's metrics.
        seconds: the time that each part of the step took.
        problems: problems of a batch.
        group: rollouts of each problem.
    """
    last: dict[str, tuple[int, str]] = {}  # of each rollout
    rows = [(key, tag) for key, tag in zip(batch.keys, batch.tags, strict=True) if not tag.get("is_padding")]
    for key, _ in rows:
        rollout, _, number = key.rpartition("_")
        last[rollout] = max(last.get(rollout, (-1, "")), (int(number), key))
    ends = [key for _, key in last.values()]
    extras = transfer_queue.kv_batch_get(keys=ends, partition_id=batch.partition_id, select_fields=["extra_fields"])
    scored = [extra["reward_extra_info"] for extra in list(extras["extra_fields"])]
    kept = len({rollout.rpartition("_")[0] for rollout in last})
    equal: Mapping[float, int] = metrics.get(DAPO_FILTERED_REWARD_COUNTS_KEY) or {}  # groups, by their reward
    drawn = kept + sum(equal.values())
    rewards = sum(each["score"] for each in scored) + group * sum(reward * many for reward, many in equal.items())
    tokens = sum(tag["seq_len"] for _, tag in rows)
    step = seconds["step"]
    return {
        "reward": rewards / (len(scored) + group * sum(equal.values())),
        "rollouts_overflowed": sum(each["overflowed"] for each in scored),
        "rollouts_failed": problems * group - len(scored),  # verl logs their errors and goes on without them
        "groups_drawn": drawn,
        "groups_kept": kept,
        "completion_tokens": fmean(tag["response_len"] for _, tag in rows),
        **{own: float(metrics[name]) for own, name in _SAME.items() if name in metrics},
        **{f"accuracy_{name.split('/')[1]}": float(value) for name, value in metrics.items() if _is_accuracy(name)},
        "sampling_seconds": seconds.get("gen", 0.0),
        "learning_seconds": seconds.get("update_actor", 0.0),
        "seconds": step,
        "tokens_per_second": tokens / step,
    }


def _is_accuracy(name: str) -> bool:
    """Return whether a figure of verl is the mean reward at a length, such as "val-core/125/reward/mean@1"."""
    return name.startswith("val-core/") and name.split("/")[2].startswith("reward") and "/mean@" in name
