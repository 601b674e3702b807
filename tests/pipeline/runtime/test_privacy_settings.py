"""Privacy settings come whole from the environment; one that cannot be used is refused by the name
of its variable.
"""

from __future__ import annotations

from typing import Any

import pytest

from pipeline.core.privacy.consent import DENIED, GRANTED
from pipeline.core.privacy.field_policy import FieldPolicy
from pipeline.runtime.environ import InvalidConfig
from pipeline.runtime.privacy_settings import field_policy_from_env, privacy_from_env

U1 = "h_1a42f939958c71d4fd4b4885b111cf09"  # keyed BLAKE2b of "u1"


def applied(policy: FieldPolicy, fields: dict[str, Any]) -> dict[str, Any]:
    fields = {
        name: dict(value) if isinstance(value, dict) else value for name, value in fields.items()
    }
    policy.apply(fields)
    return fields


class TestConfiguration:
    def test_the_least_environment_grants_by_default_and_honours_signals(self) -> None:
        privacy = privacy_from_env({})
        assert (privacy.default, privacy.signals) == (GRANTED, True)

    def test_an_installation_may_ask_first_and_may_ignore_signals(self) -> None:
        environ = {"FRESHET_DEFAULT_CONSENT": " Denied ", "FRESHET_SIGNALS": "ignore"}
        privacy = privacy_from_env(environ)
        assert (privacy.default, privacy.signals) == (DENIED, False)

    @pytest.mark.parametrize("key", ["FRESHET_DEFAULT_CONSENT", "FRESHET_SIGNALS"])
    def test_another_word_is_refused_by_name(self, key: str) -> None:
        with pytest.raises(InvalidConfig, match=f"{key}: expected .+ or .+, got 'yes'"):
            privacy_from_env({key: "yes"})

    @pytest.mark.parametrize(
        ("environ", "kept"),
        [
            ({}, True),
            ({"FRESHET_DROP_FIELDS": "pii"}, False),
            ({"FRESHET_USER_KEY": "k" * 16}, False),
            (
                {
                    "FRESHET_DROP_FIELDS": "pii",
                    "FRESHET_USER_KEY": "k" * 16,
                    "FRESHET_UNREADABLE": "keep",
                },
                True,
            ),
            ({"FRESHET_UNREADABLE": "drop"}, False),
        ],
    )
    def test_what_cannot_be_read_is_kept_as_the_environment_says(
        self, environ: dict[str, str], kept: bool
    ) -> None:
        assert (privacy_from_env(environ).fields.dead_letter(b"{") is not None) is kept

    def test_another_word_for_what_cannot_be_read_is_refused_by_name(self) -> None:
        with pytest.raises(InvalidConfig, match="FRESHET_UNREADABLE: expected keep or drop"):
            field_policy_from_env({"FRESHET_UNREADABLE": "yes"})

    def test_the_environment_names_fields_with_commas_between(self) -> None:
        environ = {
            "FRESHET_DROP_FIELDS": " pii, metadata.note ,",
            "FRESHET_HASH_FIELDS": "user_id",
            "FRESHET_FIELD_KEY": "k" * 16 + "\n",
        }
        given = {"user_id": "u1", "metadata": {"note": "x", "phone": "1", "ok": 1}}
        assert applied(field_policy_from_env(environ), given) == {
            "user_id": U1,
            "metadata": {"ok": 1},
        }
        assert applied(field_policy_from_env({}), given) == given

    @pytest.mark.parametrize(
        "name",
        [
            "email",
            "event_id",
            "event",
            "timestamp",
            "product_id",
            "metadata",
            "metadata.",
            "metadata.*",
            "user_id.x",
        ],
    )
    def test_only_ids_and_exact_names_in_the_metadata_can_be_named(self, name: str) -> None:
        for variable in ("FRESHET_DROP_FIELDS", "FRESHET_HASH_FIELDS"):
            with pytest.raises(InvalidConfig, match=variable):
                field_policy_from_env({variable: name, "FRESHET_FIELD_KEY": "k" * 16})

    @pytest.mark.parametrize("key", ["", "k" * 15, "k" * 65])
    def test_hashing_needs_a_key_of_16_to_64_bytes_which_no_error_shows(self, key: str) -> None:
        with pytest.raises(InvalidConfig, match="FRESHET_FIELD_KEY") as caught:
            field_policy_from_env({"FRESHET_HASH_FIELDS": "user_id", "FRESHET_FIELD_KEY": key})
        assert "kkk" not in str(caught.value)
