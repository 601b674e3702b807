"""The API's configuration comes whole from the environment, and refuses what it cannot use by
name."""

from __future__ import annotations

import pytest

from pipeline.runtime.environ import InvalidConfig
from vertex.api.config import Config, Weights
from vertex.api.memory import items_that_fit, memory_bytes

ENV = {"GOOGLE_CLOUD_PROJECT": "demo-project"}


def test_only_the_project_is_required() -> None:
    config = Config.from_env(ENV)

    assert config.instance == "freshet"
    assert config.vertex_endpoint is None
    assert config.allow_as_of is False
    assert config.profile_view is False


def test_a_missing_project_fails_with_its_name() -> None:
    with pytest.raises(InvalidConfig, match="GOOGLE_CLOUD_PROJECT"):
        Config.from_env({})


def test_weights_that_are_not_named_keep_their_default() -> None:
    config = Config.from_env({**ENV, "FRESHET_SCORE_WEIGHTS": "ctr=2, interest=0"})

    assert config.weights == Weights(ctr=2.0, interest=0.0)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("FRESHET_SCORE_WEIGHTS", "clicks=1"),
        ("FRESHET_SCORE_WEIGHTS", "ctr=much"),
        ("FRESHET_SCORE_WEIGHTS", "ctr=-1"),
        ("FRESHET_SCORE_WEIGHTS", "ctr=nan"),
        ("FRESHET_EXPLORE_RATE", "1.5"),
        ("FRESHET_ALLOW_AS_OF", "maybe"),
        ("FRESHET_PROFILE_VIEW", "yes"),
        ("FRESHET_VERTEX_ENDPOINT", "endpoints/1"),
        ("FRESHET_VERTEX_DEADLINE_S", "0"),
        ("FRESHET_MAX_ITEMS", "0"),
        ("FRESHET_ADDRESS_REQUESTS_PER_S", "0"),
        ("FRESHET_ADDRESS_BURST", "0.5"),
        ("FRESHET_KEY_REQUESTS_PER_S", "many"),
        ("FRESHET_KEY_BURST", "-1"),
        ("FRESHET_API_KEYS", "a key of sixteen characters and more, short"),
        ("PORT", "70000"),
        ("FRESHET_ITEM_TTL_DAYS", "0"),
    ],
)
def test_an_unusable_value_fails_with_the_name_of_its_variable(name: str, value: str) -> None:
    with pytest.raises(InvalidConfig, match=f"{name}.*expected"):
        Config.from_env({**ENV, name: value})


def test_origins_and_placements_are_lists() -> None:
    config = Config.from_env(
        {**ENV, "FRESHET_CORS_ORIGINS": "http://a/, http://b", "FRESHET_HIDE_SEEN": "cart,product"}
    )

    assert config.cors_origins == ("http://a", "http://b")
    assert config.hide_seen == {"cart", "product"}


def test_rates_are_off_unless_set() -> None:
    config = Config.from_env(ENV)
    assert (config.address_requests_per_s, config.key_requests_per_s, config.api_keys) == (
        None,
        None,
        (),
    )
    config = Config.from_env(
        {
            **ENV,
            "FRESHET_ADDRESS_REQUESTS_PER_S": "5",
            "FRESHET_API_KEYS": "k" * 16 + ", " + "l" * 16,
        }
    )
    assert (config.address_requests_per_s, config.api_keys) == (5.0, ("k" * 16, "l" * 16))
    assert "kkkk" not in repr(config)


def test_the_number_of_items_follows_from_memory_unless_it_is_given() -> None:
    assert Config.from_env(ENV).max_items == items_that_fit(memory_bytes())
    assert Config.from_env({**ENV, "FRESHET_MAX_ITEMS": "500"}).max_items == 500
