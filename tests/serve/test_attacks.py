"""Every attack gets the reply that it should, and the service survives."""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterator

import pytest
from attacks import ATTACKS, KEY, Attack, send
from served import Served, serving

from memagent.serve.guard import Rules
from memagent.serve.server import Doors


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    doors = Doors(Rules(keys=[KEY, "another-key-0123456789"]))
    with serving(tmp_path_factory.mktemp("service"), doors=doors) as found:
        yield found


@pytest.mark.parametrize("attack", ATTACKS, ids=lambda attack: attack.name)
def test_an_attack_gets_what_it_should(served: Served, attack: Attack) -> None:
    status, reply = send(served.url, attack.data)
    assert status in attack.right, reply[:500]
    assert attack.never not in reply
    assert served.client.get("/health").status_code == 200


def test_the_time_of_a_refusal_says_nothing_about_the_key(served: Served) -> None:
    """A key that is wrong in all characters and a key that is wrong in the last one are refused equally fast."""
    seconds: dict[str, list[float]] = {"x" * len(KEY): [], KEY[:-1] + "x": []}
    for _ in range(200):
        for key, times in seconds.items():
            began = time.perf_counter()
            assert served.client.get("/v1/models", headers={"Authorization": f"Bearer {key}"}).status_code == 401
            times.append(time.perf_counter() - began)
    first, last = (statistics.median(times) for times in seconds.values())
    assert abs(first - last) < 0.2 * max(first, last)
