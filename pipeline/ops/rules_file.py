"""Reads a file of rules and checks it at start: every problem at once, each with file, line, field
and expectation.

`python -m pipeline.ops.rules_file [FILE]` checks a file (without one, the rules that Freshet comes
with). `python -m pipeline.ops.rules_file --docs` writes the tables of docs/rules.md; a test fails
when they are stale.
"""

from __future__ import annotations

import math
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TypeVar, cast, get_args

from apache_beam.io.filesystems import FileSystems
from google.api_core.exceptions import GoogleAPIError
from google.auth.exceptions import GoogleAuthError

from pipeline.core.features.visitor import NUMERIC, VISITOR_FEATURES
from pipeline.core.privacy.address_counts import ADDRESS_SIGNALS
from pipeline.core.rules import (
    AnomalyRule,
    Bound,
    CampaignRule,
    Condition,
    Rules,
    Severity,
    Subject,
)
from pipeline.ops.rules_docs import documented
from pipeline.runtime.yaml_reader import (
    SPAN_MS,
    InvalidFile,
    Node,
    YamlReader,
    compose,
    line_of,
    number_of,
    span_ms_of,
)

DEFAULT_FILE = Path(__file__).parents[1] / "rules.yaml"
DOCS_FILE = Path(__file__).parents[2] / "docs" / "rules.md"
# The view events_trusted looks so much further back for marks than for events.
MAX_MARK_MS = 30 * SPAN_MS["d"]
MAX_COOLDOWN_MS = 366 * SPAN_MS["d"]

_RANGE = re.compile(r"[\[({](-?[\d.]+), (∞|[\d.]+)[\])}]")

Range = tuple[float, float]
R = TypeVar("R", CampaignRule, AnomalyRule)


def signal_range(text: str) -> Range:
    """The least and the most value of a signal, of a feature's range such as `[0, 8]`, `(0, 1)` or
    `[0, ∞)`.

    Raises:
        ValueError: for a text that is no range of numbers.
    """
    found = _RANGE.fullmatch(text)
    if found is None:
        raise ValueError(f"range: expected two numbers such as [0, 8] or [0, ∞), got {text!r}")
    return float(found.group(1)), math.inf if found.group(2) == "∞" else float(found.group(2))


# What a rule may ask about: every feature of visitors that is a number, and what is counted by
# address.
_SIGNALS: dict[str, dict[str, Range]] = {
    "visitor": {
        feature.name: signal_range(feature.range)
        for feature in VISITOR_FEATURES
        if feature.name in NUMERIC
    },
    "address": dict.fromkeys(ADDRESS_SIGNALS, (0.0, math.inf)),
}


def load(path: Path | str = DEFAULT_FILE) -> Rules:
    """The rules of a file, a path or `gs://bucket/name`, which stand alone: nothing of the default
    is added.

    Raises:
        InvalidFile: naming for every problem file, line, field, expectation and value.
    """
    return parse(_content(str(path)), str(path))


def rules_of(name: str) -> Rules:
    """The rules that an option names: "default" for the shipped ones, "none" for none, else the
    file.

    Raises:
        InvalidFile: naming file, line, field, value and expectation of all that is wrong.
    """
    if name == "none":
        return Rules()
    return load(DEFAULT_FILE if name == "default" else name)


def _content(path: str) -> bytes:
    """Text of a file, here or on Cloud Storage: the launcher of a Flex Template has no folder of
    the operator's.
    """
    try:
        with FileSystems.open(path) as file:
            return bytes(file.read())
    except (OSError, ValueError, GoogleAPIError, GoogleAuthError) as error:
        reason = getattr(error, "strerror", None) or error
        raise InvalidFile([f"{path}: expected a file that can be read, got {reason}"]) from None


def parse(content: bytes, file: str) -> Rules:
    """The rules that `content` holds; `file` names it in messages. Raises as `load` does."""
    reader = _Reader(file)
    rules = reader.rules(compose(content, file))
    reader.check()
    return rules


class _Reader(YamlReader):
    """Reads campaigns and anomalies."""

    def rules(self, root: Node) -> Rules:
        if root is None:
            self.problems.append(
                (1, f"{self.file}:1: rules: expected campaigns and anomalies, got an empty file")
            )
        fields = self.fields(root, "rules", (), ("campaigns", "anomalies"))
        return Rules(
            campaigns=self._entries(fields.get("campaigns"), "campaigns", self._campaign),
            anomalies=self._entries(fields.get("anomalies"), "anomalies", self._anomaly),
        )

    def _entries(self, node: Node, field: str, read: Callable[[Node, str], R]) -> tuple[R, ...]:
        rules: list[R] = []
        lines: dict[str, int] = {}
        for number, entry in enumerate(self.entries(node, field)):
            rule = read(entry, f"{field}[{number}]")
            if rule.name in lines:
                self.note(
                    entry,
                    f"{field}[{number}].name",
                    f"a name that line {lines[rule.name]} has not",
                    rule.name,
                )
            elif rule.name:
                lines[rule.name] = line_of(entry)
            rules.append(rule)
        return tuple(rules)

    def _campaign(self, node: Node, path: str) -> CampaignRule:
        fields = self.fields(
            node, path, ("name", "conditions", "cooldown", "channel"), ("payload",)
        )
        payload = self.entries(fields.get("payload"), f"{path}.payload")
        return CampaignRule(
            name=self.name(fields.get("name"), f"{path}.name"),
            conditions=self._conditions(
                fields.get("conditions"), f"{path}.conditions", _SIGNALS["visitor"]
            ),
            cooldown_ms=self.span(fields.get("cooldown"), f"{path}.cooldown", MAX_COOLDOWN_MS),
            channel=self.name(fields.get("channel"), f"{path}.channel"),
            payload=tuple(
                self.one_of(entry, f"{path}.payload", _SIGNALS["visitor"]) for entry in payload
            ),
        )

    def _anomaly(self, node: Node, path: str) -> AnomalyRule:
        fields = self.fields(
            node, path, ("name", "conditions", "severity", "marks", "mark_for"), ("of",)
        )
        subject = self.one_of(fields.get("of"), f"{path}.of", _SIGNALS) or "visitor"
        return AnomalyRule(
            name=self.name(fields.get("name"), f"{path}.name"),
            of=cast(Subject, subject),
            conditions=self._conditions(
                fields.get("conditions"), f"{path}.conditions", _SIGNALS[subject]
            ),
            severity=cast(
                Severity,
                self.one_of(fields.get("severity"), f"{path}.severity", get_args(Severity)),
            ),
            marks=self.flag(fields.get("marks"), f"{path}.marks"),
            mark_for_ms=self.span(fields.get("mark_for"), f"{path}.mark_for", MAX_MARK_MS),
        )

    def _conditions(
        self, node: Node, path: str, signals: Mapping[str, Range]
    ) -> tuple[Condition, ...]:
        found: list[Condition] = []
        for key, bounds in self.pairs(node, path):
            signal = self.one_of(key, path, signals)
            if not signal:
                continue
            read = [
                Condition(signal, cast(Bound, bound), value)
                for name, number in self.pairs(bounds, f"{path}.{signal}")
                if (bound := self.one_of(name, f"{path}.{signal}", get_args(Bound)))
                and (value := self._number(number, f"{path}.{signal}.{bound}", signal)) is not None
            ]
            if read and not _can_hold(read, signals[signal]):
                stated = " and ".join(
                    f"{condition.bound} {condition.value:g}" for condition in read
                )
                expected = f"bounds that a value of {_range(signals[signal])} can meet"
                self.note(bounds, f"{path}.{signal}", expected, stated)
            found.extend(read)
        return tuple(found)

    def _number(self, node: Node, path: str, signal: str) -> float | None:
        """A number; where the signal is in seconds, a span too."""
        is_time = signal.endswith("_s")
        if is_time and (span_ms := span_ms_of(node)) is not None:
            return span_ms / 1000
        value = number_of(node)
        if value is not None:
            return value
        self.note(node, path, "seconds, or a span such as 30m" if is_time else "a number", node)
        return None


def _can_hold(conditions: Sequence[Condition], within: Range) -> bool:
    """True where some value of a signal's range meets all bounds; bounds with no value between them
    contradict.
    """
    low, high = within
    low = max([low, *(condition.value for condition in conditions if condition.is_lower)])
    high = min([high, *(condition.value for condition in conditions if not condition.is_lower)])
    if low != high:
        return low < high
    return all(
        condition.bound in ("at_least", "at_most") or condition.value != low
        for condition in conditions
    )


def _range(within: Range) -> str:
    low, high = within
    return f"{low:g} or more" if math.isinf(high) else f"{low:g} to {high:g}"


def main(argv: Sequence[str]) -> int:
    """Check a file of rules, or write the tables of the documentation; returns the exit status."""
    try:
        if list(argv) == ["--docs"]:
            DOCS_FILE.write_text(documented(DOCS_FILE.read_text(), load()))
            sys.stdout.write(f"wrote the tables of {DOCS_FILE.name}\n")
            return 0
        path = argv[0] if argv else DEFAULT_FILE
        rules = load(path)
    except InvalidFile as error:
        sys.stderr.write(f"{error}\n")
        return 1
    sys.stdout.write(
        f"{path}: {len(rules.campaigns)} campaigns, {len(rules.anomalies)} anomaly rules\n"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
