"""What leaves the collector: addresses cut, named fields dropped or hashed, and nothing else
touched.
"""

from __future__ import annotations

import copy
import json
import re
from datetime import UTC, datetime
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.core.events import MAX_EVENT_BYTES, WireEvent
from pipeline.core.privacy.addresses import truncated_address
from pipeline.core.privacy.field_policy import FieldPolicy, InvalidPolicy
from pipeline.core.privacy.redaction import ADDRESS_FIELDS, MAX_WRITTEN_TOKENS
from pipeline.core.untrusted_json import MAX_REPEATING_VALUES

KEY = b"k" * 16
TOO_MUCH = b"{%s}" % b",".join([b'"a":1'] * (MAX_REPEATING_VALUES + 2))
U1 = "h_1a42f939958c71d4fd4b4885b111cf09"  # keyed BLAKE2b of "u1"

JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-5, 5)
    | st.floats(allow_nan=False)
    | st.text(max_size=5),
    lambda value: (
        st.lists(value, max_size=3)
        | st.dictionaries(
            st.sampled_from([*sorted(ADDRESS_FIELDS), "email", "traits", "x"]), value, max_size=4
        )
    ),
    max_leaves=12,
)


def applied(policy: FieldPolicy, fields: dict[str, Any]) -> dict[str, Any]:
    fields = copy.deepcopy(fields)
    policy.apply(fields)
    return fields


class TestAddresses:
    @given(st.ip_addresses(v=4))
    def test_of_an_ipv4_address_its_24_stays(self, address: IPv4Address) -> None:
        cut = truncated_address(str(address))
        assert cut == str(ip_network(f"{address}/24", strict=False).network_address)
        assert truncated_address(cut) == cut
        assert truncated_address(f"::ffff:{address}") == cut

    @given(st.ip_addresses(v=6))
    def test_of_an_ipv6_address_its_48_stays(self, address: IPv6Address) -> None:
        cut = truncated_address(str(address))
        mapped = address.ipv4_mapped
        expected = ip_network(
            f"{mapped}/24" if mapped else f"{address}/48", strict=False
        ).network_address
        assert cut is not None and ip_address(cut) == expected
        assert truncated_address(cut) == cut

    def test_the_zone_of_an_address_goes(self) -> None:
        assert truncated_address("fe80:1:2:3::4%eth0") == "fe80:1:2::"

    @pytest.mark.parametrize(
        "value",
        [
            "",
            "here",
            "1.2.3.4:80",
            "1.2.3.4, 5.6.7.8",
            "1.2.3.4%x",
            "01.2.3.4",
            "::1\0",
            "1" * 100_000,
            16909060,
            None,
            ["::"],
        ],
    )
    def test_what_is_no_address_is_dropped(self, value: Any) -> None:
        assert truncated_address(value) is None
        assert applied(FieldPolicy(), {"metadata": {"ip": value, "x": 1}}) == {"metadata": {"x": 1}}

    def test_they_are_cut_wherever_they_stand_and_all_else_stays(self) -> None:
        ip, cut = "192.0.2.77", "192.0.2.0"

        def event(address: str) -> dict[str, Any]:
            deep = {"device": [{"ip_address": address, "os": "x"}, [{"client_ip": address}]]}
            metadata = {
                "ip": address,
                "context": {"ip": address, **deep},
                "contexts": [deep],
                "ships": address,
            }
            return {
                "event": "click",
                "user_id": ip,
                "ip": address,
                "metadata": metadata | {"ships": ip},
            }

        assert applied(FieldPolicy(), event(ip)) == event(cut)

    def test_nesting_of_any_depth_is_walked_without_recursion(self) -> None:
        fields: dict[str, Any] = {"ip": "192.0.2.77"}
        for _ in range(50_000):
            fields = {"metadata": fields}
        FieldPolicy().apply(fields)
        while "metadata" in fields:
            fields = fields["metadata"]
        assert fields == {"ip": "192.0.2.0"}


class TestNamedFields:
    def test_a_dropped_field_is_gone_and_one_of_the_same_name_elsewhere_stays(self) -> None:
        policy = FieldPolicy(drop=["metadata.email", "metadata.context.traits.age", "session_id"])
        given = {
            "event_id": "e",
            "session_id": "s",
            "metadata": {
                "email": "a@b",
                "context": {"traits": {"age": 7, "email": "a@b"}},
                "age": 7,
            },
        }
        assert applied(policy, given) == {
            "event_id": "e",
            "metadata": {"context": {"traits": {"email": "a@b"}}, "age": 7},
        }

    def test_a_field_beside_the_contracts_is_metadata_already(self) -> None:
        policy = FieldPolicy(["metadata.email"], ["metadata.card"], KEY)
        assert applied(policy, {"event": "click", "email": "a@b", "card": "u1"}) == {
            "event": "click",
            "card": U1,
        }

    def test_metadata_of_the_name_of_an_id_is_not_the_id(self) -> None:
        policy = FieldPolicy(["metadata.user_id"])
        assert applied(policy, {"user_id": "u1", "metadata": {"user_id": "u1"}}) == {
            "user_id": "u1",
            "metadata": {},
        }

    def test_a_hashed_user_is_the_same_visitor_by_the_same_key_alone(self) -> None:
        one, other = FieldPolicy((), ["user_id"], KEY), FieldPolicy((), ["user_id"], b"l" * 16)
        assert applied(one, {"user_id": "u1"}) == {"user_id": U1}
        assert applied(other, {"user_id": "u1"}) != {"user_id": U1}
        assert applied(one, {"user_id": "u2"}) != {"user_id": U1}
        assert one.apply_id("user_id", "u1") == U1
        assert (one.apply_id("user_id", None), one.apply_id("anonymous_id", "u1")) == (None, "u1")
        assert FieldPolicy().apply_id("user_id", "u1") == "u1"

    @given(JSON)
    def test_twice_is_as_once_and_nothing_makes_it_fail(self, metadata: Any) -> None:
        for policy in (
            FieldPolicy(),
            FieldPolicy(["pii"], ["metadata.x", "metadata.traits.x", "user_id"], KEY),
        ):
            for fields in (
                {"metadata": metadata},
                {"x": metadata, "user_id": metadata, "traits": metadata},
            ):
                once = applied(policy, fields)
                assert applied(policy, once) == once

    def test_a_number_is_hashed_as_its_text_and_what_is_neither_is_dropped(self) -> None:
        policy = FieldPolicy((), ["metadata.card"], KEY)
        hashes = [
            applied(policy, {"metadata": {"card": card}})["metadata"].get("card")
            for card in ("12", 12, 12.0)
        ]
        assert len(set(hashes)) == 1 and hashes[0].startswith("h_")
        neither: list[Any] = [True, [], {}, [1], float("inf"), 10**5000]
        for value in neither:
            assert applied(policy, {"metadata": {"card": value}}) == {"metadata": {}}
        for nothing in (None, ""):
            assert applied(policy, {"metadata": {"card": nothing}}) == {
                "metadata": {"card": nothing}
            }

    def test_an_id_that_is_no_text_is_left_for_the_contract_to_refuse(self) -> None:
        assert applied(FieldPolicy((), ["user_id"], KEY), {"user_id": 12}) == {"user_id": 12}

    def test_what_only_looks_like_a_hash_is_hashed(self) -> None:
        policy = FieldPolicy((), ["user_id"], KEY)
        for near in (
            "h_" + "a" * 31,
            "h_" + "a" * 33,
            "h_" + "A" * 32,
            "h_" + "g" * 32,
            "i_" + "a" * 32,
        ):
            assert policy.apply_id("user_id", near) != near
        assert policy.apply_id("user_id", "h_" + "a" * 32) == "h_" + "a" * 32

    def test_an_event_that_was_read_already_becomes_the_same(self) -> None:
        policy = FieldPolicy(["session_id", "metadata.email"], ["user_id"], KEY)
        wire = WireEvent(
            "e",
            "click",
            datetime.now(UTC),
            "u1",
            "a1",
            "s1",
            None,
            {"email": "a@b", "ip": "192.0.2.7"},
        )
        policy.apply_wire(wire)
        assert (wire.user_id, wire.anonymous_id, wire.session_id) == (U1, "a1", None)
        assert wire.metadata == {"ip": "192.0.2.0"}
        FieldPolicy().apply_wire(
            plain := WireEvent("e", "click", datetime.now(UTC), metadata={"ip": "192.0.2.7"})
        )
        assert plain.metadata == {"ip": "192.0.2.0"}


class TestPersonalFields:
    def test_they_are_dropped_anywhere_however_they_are_spelt(self) -> None:
        given = {
            "email": "a@b",
            "metadata": {
                "$first_name": "A",
                "products": [{"name": "shoe", "Last Name": "B"}],
                "context": {"traits": {"name": "A B", "birthDay": "1.1.", "plan": "x"}},
                "title": "a page",
            },
        }
        assert applied(FieldPolicy(["pii"]), given) == {
            "metadata": {
                "products": [{"name": "shoe"}],
                "context": {"traits": {"plan": "x"}},
                "title": "a page",
            },
        }

    def test_an_address_of_the_network_is_cut_and_one_of_the_street_is_dropped(self) -> None:
        given = {"metadata": {"ip_address": "192.0.2.7", "address": {"street": "x"}}}
        assert applied(FieldPolicy(["pii"]), given) == {"metadata": {"ip_address": "192.0.2.0"}}


class TestDeadLetters:
    def dead_letter(self, policy: FieldPolicy, event: Any) -> Any:
        return json.loads(policy.dead_letter(json.dumps(event).encode()) or b"null")

    def test_a_rejected_event_of_any_vendor_loses_what_is_named_wherever_it_stands(self) -> None:
        policy = FieldPolicy(["metadata.user.email"], ["user_id"], KEY)
        event = {
            "type": "track",
            "userId": "u1",
            "context": {"ip": "192.0.2.7", "email": "a@b"},
            "x": [{"email": 1}],
        }
        assert self.dead_letter(policy, event) == {
            "type": "track",
            "userId": U1,
            "context": {"ip": "192.0.2.0"},
            "x": [{}],
        }
        assert self.dead_letter(
            FieldPolicy(["pii"]), {"traits": {"name": "A"}, "name": "page"}
        ) == {
            "traits": {},
            "name": "page",
        }

    @pytest.mark.parametrize("name", ["user_id", "userId", "$user_id"])
    def test_an_id_is_hashed_whatever_it_is_written_as_or_removed(self, name: str) -> None:
        policy = FieldPolicy((), ["user_id"], KEY)
        of_text = self.dead_letter(policy, {name: "12345"})[name]
        assert of_text.startswith("h_")
        for number in (12345, 12345.0):
            assert self.dead_letter(policy, {name: number, "x": [{name: number}]}) == {
                name: of_text,
                "x": [{name: of_text}],
            }
        others: list[Any] = [["cust-1"], {"id": "cust-1"}, True, 2**70]
        for other in others:
            assert self.dead_letter(policy, {name: other, "x": [{name: other}]}) == {"x": [{}]}
        for nothing in (None, ""):
            assert self.dead_letter(policy, {name: nothing}) == {name: nothing}

    def test_an_id_may_be_dropped_from_a_dead_letter_as_well(self) -> None:
        assert self.dead_letter(FieldPolicy(["user_id"]), {"userId": 7, "x": 1}) == {"x": 1}

    def test_what_holds_nothing_of_the_kind_stays_to_the_byte(self) -> None:
        assert FieldPolicy(["pii"], ["user_id"], KEY).dead_letter(b'{ "a" : 1 }') == b'{ "a" : 1 }'

    @pytest.mark.parametrize(
        "payload", [b"", b"\xff", b"[" * 100_000, b"7", b'{"email": "a@b.example"', TOO_MUCH]
    )
    def test_where_no_field_is_found_a_dead_letter_is_kept_only_if_none_had_to_be_or_it_is_wanted(
        self, payload: bytes
    ) -> None:
        for policy in (
            FieldPolicy(["pii"]),
            FieldPolicy([], ["user_id"], KEY),
            FieldPolicy(keeps_unreadable=False),
        ):
            assert policy.dead_letter(payload) is None
        for policy in (FieldPolicy(), FieldPolicy(["pii"], keeps_unreadable=True)):
            assert policy.dead_letter(payload) == payload

    @pytest.mark.parametrize(
        "payload",
        [
            b'{"user_token":"SECRET","events":[',
            b'{"user_token" : "SECRET, SECRET", "events":[',
            b'{"events":[], "user_token":\n"SECRET',
            b"{'user_token': 'SECRET'}",
            b'[{"user_properties":{"user_token":{"set_at":1,"value":"SECRET"},"plan":"a"}',
            rb'{"data":"{\"user_token\":\"SECRET\",\"kept\":1}"',
            rb'{"data":"{\"a\":\"{\\\"user_token\\\": \\\"SECRET\\\"}\"}"',
            rb'"a text with {\"user_token\":\"SECRET\"}"',
            b"user_id=u1&user_token=SECRET&a=%ff",
            b"en=lit&up.user_token=SECRET\nen=lit&up.user_token=SECRET",
            b"data=%7B%22user_token%22%3A%22SECRET%22",
            b"data=%257B%2522user_token%2522%253a%2522SECRET%2522",
        ],
    )
    def test_what_cannot_be_read_loses_its_tokens_and_nothing_else(self, payload: bytes) -> None:
        kept = FieldPolicy(["pii"], keeps_unreadable=True).dead_letter(payload)
        assert kept == SECRET.sub(b"***", payload)

    def test_a_word_that_is_no_tokens_name_stays(self) -> None:
        for payload in (b"user_tokens_count=5&user_token", b'{"user_tokens":"1", "user_token"'):
            assert FieldPolicy().dead_letter(payload) == payload

    def test_more_tokens_than_any_request_has_are_not_cut_but_not_kept_either(self) -> None:
        for count, is_kept in ((MAX_WRITTEN_TOKENS, True), (MAX_WRITTEN_TOKENS + 1, False)):
            assert (
                FieldPolicy().dead_letter(b'"user_token":"SECRET",' * count) is not None
            ) is is_kept

    def test_what_is_larger_than_an_event_is_not_searched_for_names(self) -> None:
        large = {"ip": "192.0.2.1", "x": "y" * MAX_EVENT_BYTES}
        assert FieldPolicy(["pii"]).dead_letter(json.dumps(large).encode()) is None
        assert self.dead_letter(FieldPolicy(), large) == large | {"ip": "192.0.2.0"}


SECRET = re.compile(rb'{"set_at":1,"value":"SECRET"|SECRET(, SECRET)?')


class TestArguments:
    @pytest.mark.parametrize("name", ["email", "metadata", "metadata.*", "user_id.x"])
    def test_only_ids_and_exact_names_in_the_metadata_can_be_named(self, name: str) -> None:
        expected = f"expected pii, .* got '{re.escape(name)}'"
        with pytest.raises(InvalidPolicy, match=f"drop: {expected}"):
            FieldPolicy(drop=[name])
        with pytest.raises(InvalidPolicy, match=f"hash: {expected}"):
            FieldPolicy(hash=[name], key=KEY)

    def test_a_field_cannot_be_both_and_a_number_cannot_be_hashed(self) -> None:
        for drop, hash in ((["user_id"], ["user_id"]), ([], ["metadata.price"])):
            with pytest.raises(InvalidPolicy, match="hash: expected"):
                FieldPolicy(drop, hash, KEY)
