"""Every attack gets the reply that it should, and the service survives."""

from __future__ import annotations

import hmac
from collections.abc import Iterator
from unittest.mock import patch

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


@pytest.mark.parametrize("key", [KEY, KEY[:-1] + "x", "x"])
def test_every_key_is_compared_in_constant_time(served: Served, key: str) -> None:
    with patch("memagent.serve.guard.hmac.compare_digest", side_effect=hmac.compare_digest) as compare:
        served.client.get("/v1/models", headers={"Authorization": f"Bearer {key}"})
    assert compare.call_count == 2
