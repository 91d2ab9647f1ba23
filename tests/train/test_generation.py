"""Sampling in lockstep equals sampling each prompt alone, shares prefixes, and drops finished rows."""

from __future__ import annotations

import pytest
import torch

from memagent.models.chat import Sampling
from memagent.rl.conversations import Conversation
from memagent.train.batches import Family, collate, logprobs
from memagent.train.generation import Sampled, Work, sample
from memagent.train.nano import nano_policy
from memagent.train.policy import Policy

PROMPTS = [[5, 6, 7, 8, 9], [5, 6, 7, 8, 9], [5, 6, 7, 20, 21, 22, 23], [40, 41], [40, 41, 42]]
LIMITS = [6, 1, 4, 9, 3]


@pytest.fixture(scope="module")
def policy() -> Policy:
    return nano_policy(3)


def draw(policy: Policy, temperature: float, work: Work | None = None) -> list[Sampled]:
    random = torch.Generator().manual_seed(7)
    return sample(policy, PROMPTS, LIMITS, Sampling(temperature), random, work)


def greedy(policy: Policy, prompt: list[int], limit: int) -> list[int]:
    """Greedy completion by the whole model, without a cache."""
    ids = list(prompt)
    while len(ids) < len(prompt) + limit:
        ids.append(int(policy.model(input_ids=torch.tensor([ids])).logits[0, -1].argmax()))
        if ids[-1] in policy.stops:
            break
    return ids[len(prompt) :]


def test_greedy_completions_are_those_of_the_model_without_a_cache(policy: Policy) -> None:
    found = draw(policy, 0.0)
    assert [one.ids for one in found] == [greedy(policy, *pair) for pair in zip(PROMPTS, LIMITS, strict=True)]


@pytest.mark.parametrize("at_once", [4_000_000, 0])
def test_what_prompts_begin_with_is_computed_once_and_changes_nothing(
    policy: Policy, at_once: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Five prompts on two sections, two of them identical, and a prompt on its own. Rows attend to a section together
    or one at a time."""
    monkeypatch.setattr("memagent.train.attention._AT_ONCE", at_once)
    section, other = list(range(5, 60)) * 2, list(range(59, 4, -1)) * 2
    prompts = [[*section, 8, 9], [*section, 20, 21, 22, 23], [*other, 7, 7, 8], [*section, 8, 9], [40, 41], [*other, 3]]
    limits = [9, 5, 7, 9, 6, 9]
    work = Work()
    random = torch.Generator().manual_seed(7)
    found = sample(policy, prompts, limits, Sampling(1.0), random, work)
    assert work.prompt_tokens == 5 * 110 + 14
    assert work.computed_tokens == 2 * 110 + 2 + 4 + 3 + 2 + 1
    assert len({len(one.ids) for one in found}) > 1
    for prompt, one in zip(prompts, found, strict=True):
        batch = collate([Family([[Conversation(tuple(prompt), tuple(one.ids), tuple(one.logprobs))]])], policy.pad)
        assert one.logprobs == pytest.approx(logprobs(policy, batch)[0].tolist(), abs=1e-4)
    greedily = sample(policy, prompts, limits, Sampling(0.0), random)
    assert [one.ids for one in greedily] == [greedy(policy, *pair) for pair in zip(prompts, limits, strict=True)]


@pytest.mark.parametrize("temperature", [1.0, 0.7])
def test_log_probabilities_are_the_trainers(policy: Policy, temperature: float) -> None:
    for prompt, one in zip(PROMPTS, draw(policy, temperature), strict=True):
        batch = collate([Family([[Conversation(tuple(prompt), tuple(one.ids), tuple(one.logprobs))]])], policy.pad)
        recomputed, _ = logprobs(policy, batch, temperature)
        assert one.logprobs == pytest.approx(recomputed.tolist(), abs=1e-4)


def test_a_completion_ends_with_a_stop_or_at_its_limit(policy: Policy) -> None:
    stops = 0
    for seed in range(30):
        random = torch.Generator().manual_seed(seed)
        for one, limit in zip(sample(policy, PROMPTS, LIMITS, Sampling(1.0), random), LIMITS, strict=True):
            assert 1 <= len(one.ids) == len(one.logprobs) <= limit
            assert [token in policy.stops for token in one.ids[:-1]] == [False] * (len(one.ids) - 1)
            assert (one.finish == "stop") == (one.ids[-1] in policy.stops)
            stops += one.finish == "stop"
    assert 0 < stops < 150


def test_rows_stand_for_all_that_say_the_same_and_fork_when_they_part(policy: Policy) -> None:
    rows: list[int] = []
    hidden = policy.hidden

    def counted(ids: torch.Tensor, *others: object) -> object:
        rows.append(len(ids))
        return hidden(ids, *others)  # type: ignore[arg-type]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(policy, "hidden", counted)
        many = sample(policy, [[5, 6]] * 40, [6] * 40, Sampling(1.0), torch.Generator().manual_seed(1))
    said = [tuple(one.ids) for one in many]
    for step, held in enumerate(rows[1:], 1):
        begun = {ids[:step] for ids in said if len(ids) > step}
        assert len(begun) <= held <= len(begun) / 0.75
    assert rows[0] == 1
    assert len(set(said)) > 20
    for one in many:
        batch = collate([Family([[Conversation((5, 6), tuple(one.ids), tuple(one.logprobs))]])], policy.pad)
        assert one.logprobs == pytest.approx(logprobs(policy, batch)[0].tolist(), abs=1e-4)


def test_tokens_are_drawn_as_often_as_they_are_likely(policy: Policy) -> None:
    random = torch.Generator().manual_seed(0)
    many = sample(policy, [[5, 6]] * 4000, [1] * 4000, Sampling(1.0), random)
    token = max({one.ids[0] for one in many}, key=[one.ids[0] for one in many].count)
    share = sum(one.ids[0] == token for one in many) / 4000
    likely = policy.model(input_ids=torch.tensor([[5, 6]])).logits[0, -1].softmax(-1)[token].item()
    assert share == pytest.approx(likely, abs=0.03)


def test_top_p_leaves_out_what_is_unlikely(policy: Policy) -> None:
    random = torch.Generator().manual_seed(0)
    drawn = sample(policy, [[5, 6]] * 500, [1] * 500, Sampling(1.0, 0.3), random)
    chances = policy.model(input_ids=torch.tensor([[5, 6]])).logits[0, -1].softmax(-1).sort(descending=True)
    nucleus = int((chances.values.cumsum(0) < 0.3).sum()) + 1
    assert {one.ids[0] for one in drawn} <= set(chances.indices[:nucleus].tolist())
