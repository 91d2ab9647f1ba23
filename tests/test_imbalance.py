from __future__ import annotations

import sys
from itertools import chain, cycle, repeat
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).parents[1] / "benchmarks"))
from simulated_cluster import Call, Cluster, Reading, Speed, lockstep, longest_first, partial, synchronous

SPEED = Speed(prefill=1.0, step=1.0, slots=1)
TWO_SLOTS = Speed(prefill=1.0, step=1.0, slots=2)


def reading(*lengths: int) -> Reading:
    """A reading with one turn for each length: a prompt of one token, and the rest in the completion."""
    return [[Call(1, length - 1)] for length in lengths]


def test_equal_readings_on_one_gpu_leave_no_idle_time() -> None:
    found = synchronous([reading(2, 3)] * 4, 1, SPEED)
    assert (found.idle, found.seconds) == (0, 20)


def test_readings_of_length_1_and_3_on_two_gpus_leave_a_third_idle() -> None:
    found = synchronous([reading(1), reading(3)], 2, SPEED)
    assert found.seconds == 3
    assert found.idle == pytest.approx(1 / 3)


def test_the_longest_reading_first_is_shorter() -> None:
    batch = [reading(1), reading(1), reading(1, 1)]
    assert synchronous(batch, 2, SPEED).seconds == 3
    found = synchronous(longest_first(batch), 2, SPEED)
    assert (found.idle, found.seconds) == (0, 2)


def test_prompts_are_computed_one_after_another_and_completions_at_the_same_time() -> None:
    assert synchronous([[[Call(2, 5)]], [[Call(3, 1)]]], 1, TWO_SLOTS).seconds == 7
    assert synchronous([[[Call(2, 0)]], [[Call(3, 4)]]], 1, TWO_SLOTS).seconds == 9


def test_with_priority_a_gpu_computes_the_prompts_of_the_first_reading_first() -> None:
    batch: list[Reading] = [[[Call(1, 1)], [Call(1, 1)]], [[Call(5, 0)]], [[Call(5, 0)]]]
    ends = []
    for priority in (False, True):
        cluster = Cluster(1, Speed(prefill=1.0, step=1.0, slots=3), priority)
        for name, each in enumerate(batch):
            cluster.start(name, name, each)
        while cluster.finish() != 0:
            pass
        ends.append(cluster.now)
    assert ends == [13, 8]


def test_the_requests_of_a_wave_run_at_the_same_time() -> None:
    one_by_one, at_once = [[Call(1, 2)]] * 4, [[Call(1, 2)] * 4]
    assert synchronous([one_by_one], 4, SPEED).seconds == 12
    found = synchronous([at_once], 4, SPEED)
    assert (found.idle, found.seconds) == (0, 3)


def test_in_lockstep_a_turn_waits_for_the_longest_turn_before_it() -> None:
    batch = [reading(1, 4), reading(4, 1)]
    assert synchronous(batch, 2, SPEED).seconds == 5
    assert synchronous([lockstep(batch)], 2, SPEED).seconds == 8


def test_the_order_does_not_change_the_work() -> None:
    batch = [reading(*range(1, 2 + number % 5)) for number in range(40)]
    work = sum(call.prompt + call.completion for each in batch for wave in each for call in wave)
    for order in (batch, longest_first(batch), [lockstep(batch)]):
        found = synchronous(order, 8, SPEED)
        assert (1 - found.idle) * found.seconds * 8 == pytest.approx(work)


def test_partial_rollouts_leave_no_gpu_idle() -> None:
    readings = cycle([reading(1), reading(3)])
    found = partial(readings, 2, SPEED, problems=2, group=1, warm_up=2, steps=20)
    assert found.idle == 0
    assert found.seconds == pytest.approx(2, rel=0.1)


def test_a_long_reading_is_used_steps_after_its_start() -> None:
    readings = chain([reading(4)], repeat(reading(1)))
    found = partial(readings, 2, SPEED, problems=2, group=1, warm_up=0, steps=2)
    # The long reading starts in step 0 and ends in step 1. Three short ones end in the steps in which they start.
    assert found.staleness == 1 / 4


def test_a_step_needs_whole_groups() -> None:
    readings = chain([reading(1), reading(9)], repeat(reading(1)))
    found = partial(readings, 2, SPEED, problems=1, group=2, warm_up=0, steps=1)
    assert found.seconds == 3  # the second group ends at 3, the first one at 9
