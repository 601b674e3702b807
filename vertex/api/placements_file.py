"""Reads the file of placements, and checks it at start: every problem at once, each with file,
line, field, value and expectation.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from pipeline.core.events import MAX_ID_LENGTH
from pipeline.core.expressions.compiler import Expression, compile_expression
from pipeline.core.expressions.errors import InvalidExpression
from pipeline.core.expressions.fields import FieldTypes, Kind
from pipeline.runtime.environ import InvalidConfig
from pipeline.runtime.yaml_reader import (
    SPAN_MS,
    InvalidFile,
    Node,
    YamlReader,
    compose,
    content_of,
)
from vertex.api.banner import SUBJECTS
from vertex.api.config import Config, Weights
from vertex.api.contract import MAX_K
from vertex.api.placements import (
    DEFAULT,
    HIDEABLE,
    KINDS,
    POPULAR,
    VARIANTS,
    Placement,
    Placements,
    built_in,
    placement_of,
)
from vertex.api.policy import EXPLORE_SLOT
from vertex.api.rules import DEPARTMENT, AtMost, Boost, Freshness, Pin, Repeats, Rule, Share
from vertex.candidates import source_names

MAX_FACTOR = 1_000.0
MAX_QUOTA = 100
MAX_TITLE_LENGTH = 200
MAX_EXPRESSION_LENGTH = 2_000
MAX_DEADLINE_MS = 10_000
MAX_HALF_LIFE_MS = 366 * SPAN_MS["d"]

# Key that names the kind of a rule -> (keys that it must have beside it, keys that it may have).
_RULE_FIELDS: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "boost": (("where",), ()),
    "pin": (("slot",), ()),
    "at_most": (("of", "within"), ()),
    "share": (("where",), ("up_to",)),
    "repeats": ((), ()),
    "freshness": (("half_life",), ()),
}

VARIABLE = "FRESHET_PLACEMENTS"


def load_placements(config: Config, fields: FieldTypes) -> Placements:
    """The placements of `config.placements`, a file or its text, which stand alone: of the built-in
    ones none is added. The built-in ones where it is empty.

    Args:
        config: with the settings that a placement takes where it states none.
        fields: that expressions may name.

    Raises:
        InvalidConfig: naming for every problem file, line, field, value and expectation.
    """
    stated = config.placements
    if not stated:
        return built_in(config)
    content, file = content_of(VARIABLE, stated)
    try:
        return parse_placements(content, file, config, fields)
    except InvalidFile as error:
        raise InvalidConfig(str(error)) from None


def parse_placements(content: bytes, file: str, config: Config, fields: FieldTypes) -> Placements:
    """The placements that `content` holds; `file` names it in messages.

    Raises:
        InvalidFile: naming for every problem file, line, field, value and expectation.
    """
    reader = PlacementReader(file, config, fields)
    placements = reader.placements(compose(content, file))
    reader.check()
    return placements


class PlacementReader(YamlReader):
    """Reads blocks of placements."""

    def __init__(self, file: str, config: Config, fields: FieldTypes) -> None:
        super().__init__(file)
        self._config = config
        self._field_types = fields
        texts = [name for name, kind in fields.item.items() if kind == Kind.TEXT]
        self._texts = (*texts, DEPARTMENT)
        self._fallbacks: list[tuple[Node, str, str]] = []
        self._pins: list[tuple[Node, str, int]] = []  # of the placement that is read

    def placements(self, root: Node) -> Placements:
        """All placements of the file."""
        found: dict[str, Placement] = {}
        for key, node in self.pairs(root, "placements"):
            name = self.name(key, "placements")
            if name:
                found[name] = self._placement(node, name)
        if DEFAULT not in found and not self.problems:
            expected = f"expected {DEFAULT}, for requests that name none or an unknown one"
            self.problems.append((1, f"{self.file}:1: placements: {expected}"))
        self.check_fallbacks(found)
        return Placements(found)

    def _placement(self, node: Node, name: str) -> Placement:
        self._pins = []
        fields = self.fields(node, name, ("kind",), tuple(self._readers()))
        kind = self.one_of(fields.get("kind"), f"{name}.kind", KINDS) or "for_you"
        stated = self._stated(fields, name)
        stated["filter"] = self._with_kind(kind, fields, name)
        placement = msgspec.structs.replace(placement_of(name, kind, self._config), **stated)
        self._check_pins(placement)
        return placement

    def changed(self, node: Node, path: str, base: Placement) -> Placement:
        """The placement with what a block states in place of its own; a filter beside its own."""
        self._pins = []
        fields = self.fields(node, path, (), tuple(self._readers()))
        stated = self._stated(fields, path)
        if base.filter is not None and stated.get("filter") is not None:
            both = f"({base.filter.text}) and ({stated['filter'].text})"
            stated["filter"] = compile_expression(both, self._field_types)
        placement = msgspec.structs.replace(base, **stated)
        self._check_pins(placement)
        return placement

    def _stated(self, fields: Mapping[str, Node], path: str) -> dict[str, Any]:
        """What a block states, but for the kind, as fields of `Placement`."""
        stated = {
            field: value
            for field, reads in self._readers().items()
            if field in fields and (value := reads(fields[field], f"{path}.{field}")) is not None
        }
        if (deadline_ms := stated.pop("deadline_ms", None)) is not None:
            stated["deadline_s"] = deadline_ms / 1000
        return stated

    def _readers(self) -> dict[str, Callable[[Node, str], Any]]:
        """The reader of each field but the kind."""
        return {
            "title": lambda node, path: self.text(node, path, MAX_TITLE_LENGTH),
            "sources": self._sources,
            "hide": lambda node, path: frozenset(self._several(node, path, HIDEABLE)),
            "filter": self._expression,
            "variants": lambda node, path: self.one_of(node, path, VARIANTS),
            "rules": self._rules,
            "weights": self._weights,
            "diversity": lambda node, path: self.number(node, path, 0.0, 1.0),
            "fallback": self._fallback,
            "explore": lambda node, path: self.number(node, path, 0.0, 1.0),
            "banner": lambda node, path: tuple(self._several(node, path, SUBJECTS)),
            "deadline_ms": lambda node, path: self.whole(node, path, 1, MAX_DEADLINE_MS),
            "k": lambda node, path: self.whole(node, path, 1, MAX_K),
        }

    def _with_kind(self, kind: str, fields: Mapping[str, Node], name: str) -> Expression | None:
        """The filter of the kind and that of the placement together."""
        texts = [KINDS[kind].filter, getattr(fields.get("filter"), "value", "")]
        text = " and ".join(f"({each})" for each in texts if each)
        if not text:
            return None
        try:
            return compile_expression(text, self._field_types)
        except InvalidExpression as error:
            if KINDS[kind].filter:
                expected = f"attributes for the filter {KINDS[kind].filter} ({error})"
                self.note(fields["kind"], f"{name}.kind", expected, fields["kind"])
            return None

    def _fallback(self, node: Node, path: str) -> str:
        name = self.name(node, path)
        self._fallbacks.append((node, path, name))
        return name

    def _sources(self, node: Node, path: str) -> Mapping[str, int]:
        return {
            name: self.whole(quota, f"{path}.{name}", 1, MAX_QUOTA) or 1
            for key, quota in self.pairs(node, path)
            if (name := self.one_of(key, path, source_names()))
        }

    def _weights(self, node: Node, path: str) -> Weights:
        names = [field.name for field in dataclasses.fields(Weights)]
        stated = {
            name: value
            for key, number in self.pairs(node, path)
            if (name := self.one_of(key, path, names))
            and (value := self.number(number, f"{path}.{name}", 0.0, MAX_FACTOR)) is not None
        }
        return Weights(**stated)

    def _several(self, node: Node, path: str, known: tuple[str, ...]) -> list[str]:
        return [
            name for entry in self.entries(node, path) if (name := self.one_of(entry, path, known))
        ]

    def _expression(self, node: Node, path: str) -> Expression | None:
        text = self.text(node, path, MAX_EXPRESSION_LENGTH)
        if not text:
            return None
        try:
            return compile_expression(text, self._field_types)
        except InvalidExpression as error:
            self.note(node, path, f"{error.expected} at column {error.column}", error.got)
            return None

    # -- rules

    def _rules(self, node: Node, path: str) -> tuple[Rule, ...]:
        entries = enumerate(self.entries(node, path))
        rules = [self._rule(entry, f"{path}[{number}]") for number, entry in entries]
        return tuple(rule for rule in rules if rule is not None)

    def _rule(self, node: Node, path: str) -> Rule | None:
        """A rule, by the one of its keys that names its kind."""
        keys = [getattr(key, "value", "") for key, _ in self.pairs(node, path)]
        kind = next((key for key in keys if key in _RULE_FIELDS), "")
        if not kind:
            if keys:
                expected = f"a rule with one of {', '.join(_RULE_FIELDS)}"
                self.note(node, path, expected, ", ".join(keys))
            return None
        required, optional = _RULE_FIELDS[kind]
        known = ("name", "from", "until", *optional)
        fields = self.fields(node, path, (kind, *required), known)
        name = self.text(fields.get("name"), f"{path}.name", MAX_TITLE_LENGTH)
        common = {
            "name": name or _described(fields),
            "from_ms": self.time_ms(fields.get("from"), f"{path}.from"),
            "until_ms": self.time_ms(fields.get("until"), f"{path}.until"),
        }
        read: dict[str, Callable[..., Rule | None]] = {
            "boost": self._boost,
            "pin": self._pin,
            "at_most": self._at_most,
            "share": self._share,
            "repeats": self._repeats,
            "freshness": self._freshness,
        }
        before = len(self.problems)
        rule = read[kind](fields, path, common)
        return rule if len(self.problems) == before else None

    def _boost(self, fields: Any, path: str, common: Any) -> Rule | None:
        factor = self.number(fields["boost"], f"{path}.boost", 0.0, MAX_FACTOR)
        where = self._expression(fields.get("where"), f"{path}.where")
        if factor is None or where is None:
            return None
        return Boost(factor=factor, where=where, **common)

    def _repeats(self, fields: Any, path: str, common: Any) -> Rule | None:
        factor = self.number(fields["repeats"], f"{path}.repeats", 0.0, 1.0)
        return None if factor is None else Repeats(factor=factor, **common)

    def _freshness(self, fields: Any, path: str, common: Any) -> Rule | None:
        weight = self.number(fields["freshness"], f"{path}.freshness", 0.0, MAX_FACTOR)
        half_life_ms = self.span(fields.get("half_life"), f"{path}.half_life", MAX_HALF_LIFE_MS)
        if weight is None:
            return None
        return Freshness(weight=weight, half_life_ms=half_life_ms, **common)

    def _pin(self, fields: Any, path: str, common: Any) -> Rule | None:
        item_id = self.text(fields["pin"], f"{path}.pin", MAX_ID_LENGTH)
        slot = self.whole(fields.get("slot"), f"{path}.slot", 1, MAX_K)
        if slot is None:
            return None
        self._pins.append((fields["slot"], f"{path}.slot", slot))
        return Pin(item_id=item_id, slot=slot - 1, **common)

    def _at_most(self, fields: Any, path: str, common: Any) -> Rule | None:
        n = self.whole(fields["at_most"], f"{path}.at_most", 1, MAX_K)
        of = self.one_of(fields.get("of"), f"{path}.of", self._texts)
        within = self.whole(fields.get("within"), f"{path}.within", 2, MAX_K)
        if n is None or within is None:
            return None
        return AtMost(n=n, of=of, within=within, **common)

    def _share(self, fields: Any, path: str, common: Any) -> Rule | None:
        low = self.number(fields["share"], f"{path}.share", 0.0, 1.0)
        high = self.number(fields.get("up_to"), f"{path}.up_to", 0.0, 1.0)
        where = self._expression(fields.get("where"), f"{path}.where")
        if low is None or where is None:
            return None
        if high is not None and high < low:
            self.note(fields["up_to"], f"{path}.up_to", f"at least {low:g}", f"{high:g}")
        return Share(where=where, low=low, high=1.0 if high is None else high, **common)

    # -- what holds between fields

    def _check_pins(self, placement: Placement) -> None:
        """No pin on the slot of chance: what is shown there has the propensity that is logged."""
        for node, path, slot in self._pins:
            if placement.explore > 0 and slot == EXPLORE_SLOT + 1:
                expected = f"another slot than {slot}, which is for chance while explore is above 0"
                self.note(node, path, expected, node)

    def check_fallbacks(self, found: Mapping[str, Placement]) -> None:
        """Note the fallbacks that name no placement."""
        for node, path, name in self._fallbacks:
            if name and name != POPULAR and name not in found:
                self.note(node, path, f"{POPULAR}, or a placement of this file", node)


def _described(fields: Mapping[str, Node]) -> str:
    """A rule's keys and values as text, its name where it has none."""
    skipped = ("name", "from", "until")
    return ", ".join(
        f"{key} {getattr(node, 'value', '')}" for key, node in fields.items() if key not in skipped
    )
