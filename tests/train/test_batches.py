"""Micro-batches have little padding and lose no conversation."""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from memagent.rl.conversations import Conversation, merged
from memagent.train.batches import Family, Pack, collate, in_turn, logprobs, micro_batches, padding
from memagent.train.nano import nano_policy
from memagent.train.policy import Policy


@pytest.fixture
def policy() -> Policy:
    """A policy in double precision; its `logits` are still in single precision."""
    policy = nano_policy(0)
    policy.model.double()
    return policy


def conversation(prompt: int, completion: int) -> Conversation:
    return Conversation(tuple(range(3, 3 + prompt)), tuple(range(30, 30 + completion)), (-0.5,) * completion)


def size(pack: Pack) -> int:
    return sum(family.total for family in pack)


def real(pack: Pack) -> int:
    return sum(family.real for family in pack)


@given(st.lists(st.tuples(st.integers(1, 40), st.integers(1, 8)), min_size=1, max_size=60), st.integers(50, 500))
def test_no_conversation_is_lost_and_none_padded_much(sizes: list[tuple[int, int]], tokens: int) -> None:
    conversations = [conversation(*size) for size in sizes]
    batches = micro_batches(conversations, tokens)
    found = [each for batch in batches for family in batch for each in family.conversations]
    assert Counter(found) == Counter(conversations)
    assert padding(batches) <= 0.1
    assert all(size(batch) <= tokens or len(batch[0].conversations) == 1 for batch in batches)


def test_alike_conversations_are_merged_and_count_as_much_as_before() -> None:
    one, other = conversation(9, 2), conversation(9, 3)
    lessons = [
        replace(each, advantage=advantage, weight=weight)
        for each, advantage, weight in [(one, 0.5, 1), (other, 0.5, 1), (one, -0.5, 2), (one, 0.25, 3), (one, -1.0, 2)]
    ]
    assert merged(lessons) == [
        replace(one, advantage=(0.5 + 3 * 0.25) / 4, weight=4),
        replace(other, advantage=0.5, weight=1),
        replace(one, advantage=-0.75, weight=4),
    ]


def test_the_padding_of_real_lengths_is_low_and_the_batches_few() -> None:
    draw = random.Random(0)
    conversations = [conversation(draw.randint(20, 30), draw.randint(2, 6)) for _ in range(2000)]
    batches = micro_batches(conversations, 4096)
    assert padding(batches) < 0.03
    assert len(batches) < 1.1 * sum(map(len, conversations)) / 4096 + 1


def test_items_are_dealt_out_evenly() -> None:
    items = [[conversation(10, size)] * 3 for size in (9, 1, 5, 5, 2, 8)]
    parts = list(in_turn(3, items))
    sizes = [sum(map(len, part)) for part in parts]
    assert sum(map(len, parts)) == 18
    assert max(sizes) - min(sizes) <= 3


def test_a_padded_batch_gives_the_log_probabilities_of_single_conversations() -> None:
    policy = nano_policy(0)
    conversations = [conversation(5, 2), conversation(11, 4), conversation(1, 1)]
    together, entropies = logprobs(policy, collate([Family([[each] for each in conversations])], policy.pad))
    alone = torch.cat([logprobs(policy, collate([Family([[each]])], policy.pad))[0] for each in conversations])
    assert torch.allclose(together, alone, atol=1e-5)
    # Compare with the logits of the whole model, token by token.
    ids = torch.tensor([[*conversations[1].prompt, *conversations[1].completion]])
    expected = policy.model(input_ids=ids).logits[0].log_softmax(-1)
    assert torch.allclose(together[2], expected[10, 30], atol=1e-5)
    assert torch.allclose(entropies[2], -(expected[10].exp() * expected[10]).sum(), atol=1e-4)


def test_conversations_in_one_row_do_not_see_each_other(policy: Policy) -> None:
    draw = random.Random(2)

    def said(*sizes: int) -> Conversation:
        prompt, completion = (tuple(draw.randrange(3, 60) for _ in range(size)) for size in sizes)
        return Conversation((7, 8, 9, *prompt), completion)

    conversations = [said(12, 5), said(6, 3), said(4, 2), said(3, 4), said(8, 1)]
    alone = torch.cat([logprobs(policy, collate([Family([[each]])], policy.pad))[0] for each in conversations])
    one, other = [conversations[:1], conversations[1:3]], [conversations[3:4], conversations[4:]]
    for shared in (0, 3):
        together, _ = logprobs(policy, collate([Family(one, shared), Family(other, shared)], policy.pad))
        torch.testing.assert_close(together, alone, atol=1e-5, rtol=0)


def test_a_family_is_one_part_of_a_row_with_what_its_prompts_share_once() -> None:
    draw = random.Random(3)
    sizes = (60, 58, 40, 21, 20, 5)
    lessons = [
        Conversation(section + tuple(draw.randrange(3, 60) for _ in range(size)), (5,))
        for section in (tuple(draw.randrange(3, 60) for _ in range(200)) for _ in range(2))
        for size in sizes
    ]
    [pack] = micro_batches(lessons, 1000)
    assert [family.shared for family in pack] == [200, 200]
    assert [len(each.prompt) - 200 for each in pack[0].conversations] == list(sizes)
    assert len(collate(pack, 0).ids_T) == size(pack)


def test_what_prompts_share_is_computed_once_and_the_gradient_stays(policy: Policy) -> None:
    """Two families with long shared prefixes, and two conversations that share too little."""
    draw = random.Random(1)

    def words(many: int) -> tuple[int, ...]:
        return tuple(draw.randrange(3, 60) for _ in range(many))

    first, second = words(90), words(70)
    prompts = [*[first + words(size) for size in (1, 9, 20, 9)], *[second + words(7) for _ in range(3)]]
    prompts += [words(30), first[:60] + words(40)]
    lessons = [Conversation(prompt, words(draw.randint(1, 4))) for prompt in prompts]
    draw.shuffle(lessons)
    apart, shared = (micro_batches(lessons, 400, share) for share in (False, True))
    families = [family for pack in shared for family in pack]
    assert sum(map(real, apart)) - sum(map(real, shared)) >= 2 * 90 + 2 * 70
    assert {each.shared for each in families} == {0, 90, 70}
    assert Counter(each for family in families for each in family.conversations) == Counter(lessons)
    assert padding(shared) <= 0.1
    found, expected = gradient(policy, shared), gradient(policy, apart)
    assert (found - expected).norm() < 1e-6 * expected.norm()


def gradient(policy: Policy, packs: list[Pack]) -> torch.Tensor:
    """Gradient of all log-probabilities, each weighted by its token's number."""
    policy.model.zero_grad()
    for pack in packs:
        batch = collate(pack, policy.pad)
        (logprobs(policy, batch)[0] * batch.targets_N).sum().backward()
    return torch.cat([each.grad.flatten() for each in policy.parameters if each.grad is not None])
