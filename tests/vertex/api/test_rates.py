"""A back end is counted by its key, anybody else by address."""

from __future__ import annotations

from typing import Any

from vertex.api.config import Config
from vertex.api.rates import Rates, Wait

KEY, OTHER = "a back end's key 1", "a back end's key 2"


class Clock:
    now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


def scope(address: str, key: str | None = None) -> dict[str, Any]:
    headers = [(b"x-forwarded-for", f"203.0.113.9, {address}".encode())]
    return {
        "client": ("169.254.1.1", 1),
        "headers": headers + ([(b"x-freshet-key", key.encode())] if key else []),
    }


def rates(clock: Clock | None = None, **settings: Any) -> Rates:
    return Rates(
        Config("demo-project", "freshet", api_keys=(KEY, OTHER), **settings), clock or Clock()
    )


def test_without_settings_there_is_no_limit() -> None:
    free = rates()
    assert {free.check(scope("192.0.2.1", key)) for key in (None, KEY) for _ in range(1000)} == {
        None
    }


def test_an_address_has_its_burst_and_then_its_rate_and_others_do_not_pay_for_it() -> None:
    clock = Clock()
    limited = rates(clock, address_requests_per_s=0.5, address_burst=2.0)
    answers = [limited.check(scope("192.0.2.1")) for _ in range(3)]
    assert answers == [None, None, Wait("address", 2)]
    assert limited.check(scope("192.0.2.2")) is None
    clock.now_s = 2.0
    assert limited.check(scope("192.0.2.1")) is None


def test_all_addresses_of_a_network_of_ipv6_are_one_sender() -> None:
    limited = rates(address_requests_per_s=1.0, address_burst=1.0)
    assert limited.check(scope("2001:db8::1")) is None
    assert limited.check(scope("[2001:db8::2]:443")) == Wait("address", 1)


def test_a_back_end_is_counted_by_its_key_and_not_by_its_address() -> None:
    limited = rates(
        address_requests_per_s=1.0, address_burst=1.0, key_requests_per_s=1.0, key_burst=3.0
    )
    answers = [limited.check(scope(f"192.0.2.{n}", KEY)) for n in (1, 1, 2, 3)]
    assert answers == [None, None, None, Wait("key", 1)]
    assert limited.check(scope("192.0.2.1", OTHER)) is None
    assert limited.check(scope("192.0.2.1")) is None


def test_a_key_without_a_rate_is_free_and_an_unknown_one_is_no_key() -> None:
    limited = rates(address_requests_per_s=1.0, address_burst=1.0)
    assert {limited.check(scope("192.0.2.1", KEY)) for _ in range(100)} == {None}
    assert limited.check(scope("192.0.2.1", "guessed")) is None
    assert limited.check(scope("192.0.2.1", "guessed again")) == Wait("address", 1)
