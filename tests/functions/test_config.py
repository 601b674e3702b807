"""The collector's configuration comes from the environment alone and fails early."""

from __future__ import annotations

import pytest

from functions.config import Config
from pipeline.runtime.environ import InvalidConfig

LEAST = {
    "GOOGLE_CLOUD_PROJECT": "demo-project",
    "FRESHET_EVENTS_TOPIC": "events",
    "FRESHET_DEAD_LETTER_TOPIC": "dead-letters",
}


@pytest.mark.parametrize("key", LEAST)
@pytest.mark.parametrize("value", [None, ""])
def test_a_missing_or_empty_setting_is_named(key: str, value: str | None) -> None:
    environ = {
        name: text
        for name, text in (LEAST | {key: value or ""}).items()
        if value is not None or text
    }
    with pytest.raises(InvalidConfig, match=key):
        Config.from_env(environ)


def test_the_least_environment_means_google_cloud_no_cors_no_backfill_and_no_addresses() -> None:
    config = Config.from_env(LEAST)
    assert config.events_path == "projects/demo-project/topics/events"
    assert config.dead_letter_path == "projects/demo-project/topics/dead-letters"
    assert config.pubsub_emulator_host is None
    assert config.cors_origins == frozenset()
    assert config.backfill_key is None
    assert config.address_key is None


def test_origins_are_split_at_commas_and_lose_spaces_and_a_final_slash() -> None:
    config = Config.from_env(
        LEAST | {"FRESHET_CORS_ORIGINS": " https://a.example/ ,https://b.example,"}
    )
    assert config.cors_origins == {"https://a.example", "https://b.example"}


def test_an_empty_backfill_key_refuses_backfill() -> None:
    assert Config.from_env(LEAST | {"FRESHET_BACKFILL_KEY": ""}).backfill_key is None


@pytest.mark.parametrize(
    ("text", "secret"), [("", None), ("k" * 16, b"k" * 16), (f"{'ab' * 32}\n", b"ab" * 32)]
)
def test_an_address_key_is_taken_as_bytes_without_the_newline_that_ends_a_file(
    text: str, secret: bytes | None
) -> None:
    assert Config.from_env(LEAST | {"FRESHET_ADDRESS_KEY": text}).address_key == secret


@pytest.mark.parametrize("text", ["guessed", "k" * 15, "k" * 65, "ü" * 33])
def test_an_address_key_of_another_length_is_refused_and_shown_to_nobody(text: str) -> None:
    with pytest.raises(
        InvalidConfig, match="FRESHET_ADDRESS_KEY: expected 16 to 64 bytes, got "
    ) as caught:
        Config.from_env(LEAST | {"FRESHET_ADDRESS_KEY": text})
    assert text not in str(caught.value)
    assert "kkkk" not in repr(Config.from_env(LEAST | {"FRESHET_ADDRESS_KEY": "k" * 16}))


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("FRESHET_ADDRESS_BURST", "0.5"),
        ("FRESHET_ADDRESS_BURST", "many"),
        ("FRESHET_ADDRESS_REQUESTS_PER_S", "0"),
        ("FRESHET_BOT_REQUESTS_PER_S", "nan"),
    ],
)
def test_a_limit_that_cannot_be_kept_is_refused_by_name(name: str, text: str) -> None:
    with pytest.raises(InvalidConfig, match=f"{name}: expected a number from .*, got '{text}'"):
        Config.from_env(LEAST | {name: text})


@pytest.mark.parametrize("text", ["soon", "0", "-1", "61", "nan", "inf"])
def test_a_deadline_that_makes_no_sense_is_refused_by_name(text: str) -> None:
    with pytest.raises(
        InvalidConfig, match=r"FRESHET_PUBLISH_DEADLINE_S: expected a number from 0\.001 to 60"
    ):
        Config.from_env(LEAST | {"FRESHET_PUBLISH_DEADLINE_S": text})
