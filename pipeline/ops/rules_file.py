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
from collections.abc import Callable, Collection, Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any, TypeVar, cast, get_args

import yaml
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
from pipeline.ops.rules_docs import SPAN_MS, documented, span_text

DEFAULT_FILE = Path(__file__).parents[1] / "rules.yaml"
DOCS_FILE = Path(__file__).parents[2] / "docs" / "rules.md"
# The view events_trusted looks so much further back for marks than for events.
MAX_MARK_MS = 30 * SPAN_MS["d"]
MAX_COOLDOWN_MS = 366 * SPAN_MS["d"]

_NAME = re.compile(r"[a-z][a-z0-9_]{0,62}")
_SPAN = re.compile(r"(\d{1,9})([smhd])")
_RANGE = re.compile(r"[\[({](-?[\d.]+), (∞|[\d.]+)[\])}]")
_NUMBER = re.compile(r"-?(0|[1-9]\d{0,14})(\.\d+)?")
_TEXT, _BOOL = "tag:yaml.org,2002:str", "tag:yaml.org,2002:bool"

Node = Any  # of yaml, which has no types
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


class InvalidRules(ValueError):
    """A file of rules that cannot be used; `problems` has a line for each thing wrong in it."""

    def __init__(self, problems: Sequence[str]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(self.problems))

    def __reduce__(self) -> tuple[Any, ...]:
        return (type(self), (self.problems,))


def load(path: Path | str = DEFAULT_FILE) -> Rules:
    """The rules of a file, a path or `gs://bucket/name`, which stand alone: nothing of the default
    is added.

    Raises:
        InvalidRules: naming for every problem file, line, field, expectation and value.
    """
    return parse(_content(str(path)), str(path))


def rules_of(name: str) -> Rules:
    """The rules that an option names: "default" for the shipped ones, "none" for none, else the
    file.

    Raises:
        InvalidRules: naming file, line, field, value and expectation of all that is wrong.
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
        raise InvalidRules([f"{path}: expected a file that can be read, got {reason}"]) from None


def parse(content: bytes, file: str) -> Rules:
    """The rules that `content` holds; `file` names it in messages. Raises as `load` does."""
    try:
        root = yaml.compose(content, Loader=yaml.SafeLoader)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f":{mark.line + 1}" if mark else ""
        reason = getattr(error, "problem", None) or getattr(error, "reason", error)
        raise InvalidRules([f"{file}{line}: expected YAML, got {reason}"]) from None
    reader = _Reader(file)
    rules = reader.rules(root)
    if reader.problems:
        raise InvalidRules([text for _, text in sorted(reader.problems)])
    return rules


class _Reader:
    """Walks YAML nodes, which know their lines.

    What is wrong is noted, a placeholder read, and the walk goes on.
    """

    def __init__(self, file: str) -> None:
        self.problems: list[tuple[int, str]] = []
        self._file = file

    def rules(self, root: Node) -> Rules:
        if root is None:
            self.problems.append(
                (1, f"{self._file}:1: rules: expected campaigns and anomalies, got an empty file")
            )
        fields = self._fields(root, "rules", (), ("campaigns", "anomalies"))
        return Rules(
            campaigns=self._entries(fields.get("campaigns"), "campaigns", self._campaign),
            anomalies=self._entries(fields.get("anomalies"), "anomalies", self._anomaly),
        )

    def _entries(self, node: Node, field: str, read: Callable[[Node, str], R]) -> tuple[R, ...]:
        rules: list[R] = []
        lines: dict[str, int] = {}
        for number, entry in enumerate(self._list(node, field)):
            rule = read(entry, f"{field}[{number}]")
            if rule.name in lines:
                self._note(
                    entry,
                    f"{field}[{number}].name",
                    f"a name that line {lines[rule.name]} has not",
                    rule.name,
                )
            elif rule.name:
                lines[rule.name] = _line(entry)
            rules.append(rule)
        return tuple(rules)

    def _campaign(self, node: Node, path: str) -> CampaignRule:
        fields = self._fields(
            node, path, ("name", "conditions", "cooldown", "channel"), ("payload",)
        )
        payload = self._list(fields.get("payload"), f"{path}.payload")
        return CampaignRule(
            name=self._text(fields.get("name"), f"{path}.name", _NAME),
            conditions=self._conditions(
                fields.get("conditions"), f"{path}.conditions", _SIGNALS["visitor"]
            ),
            cooldown_ms=self._span(fields.get("cooldown"), f"{path}.cooldown", MAX_COOLDOWN_MS),
            channel=self._text(fields.get("channel"), f"{path}.channel", _NAME),
            payload=tuple(
                self._one_of(entry, f"{path}.payload", _SIGNALS["visitor"]) for entry in payload
            ),
        )

    def _anomaly(self, node: Node, path: str) -> AnomalyRule:
        fields = self._fields(
            node, path, ("name", "conditions", "severity", "marks", "mark_for"), ("of",)
        )
        subject = self._one_of(fields.get("of"), f"{path}.of", _SIGNALS) or "visitor"
        return AnomalyRule(
            name=self._text(fields.get("name"), f"{path}.name", _NAME),
            of=cast(Subject, subject),
            conditions=self._conditions(
                fields.get("conditions"), f"{path}.conditions", _SIGNALS[subject]
            ),
            severity=cast(
                Severity,
                self._one_of(fields.get("severity"), f"{path}.severity", get_args(Severity)),
            ),
            marks=self._flag(fields.get("marks"), f"{path}.marks"),
            mark_for_ms=self._span(fields.get("mark_for"), f"{path}.mark_for", MAX_MARK_MS),
        )

    def _conditions(
        self, node: Node, path: str, signals: Mapping[str, Range]
    ) -> tuple[Condition, ...]:
        found: list[Condition] = []
        for key, bounds in self._items(node, path):
            signal = self._one_of(key, path, signals)
            if not signal:
                continue
            read = [
                Condition(signal, cast(Bound, bound), value)
                for name, number in self._items(bounds, f"{path}.{signal}")
                if (bound := self._one_of(name, f"{path}.{signal}", get_args(Bound)))
                and (value := self._number(number, f"{path}.{signal}.{bound}", signal)) is not None
            ]
            if read and not _can_hold(read, signals[signal]):
                stated = " and ".join(
                    f"{condition.bound} {condition.value:g}" for condition in read
                )
                expected = f"bounds that a value of {_range(signals[signal])} can meet"
                self._note(bounds, f"{path}.{signal}", expected, stated)
            found.extend(read)
        return tuple(found)

    # -- what YAML holds

    def _fields(
        self, node: Node, path: str, required: Sequence[str], optional: Sequence[str]
    ) -> dict[str, Node]:
        """The values of a mapping by key; unknown, doubled and missing keys are noted."""
        known = (*required, *optional)
        fields = {self._one_of(key, path, known): value for key, value in self._items(node, path)}
        for name in required:
            if isinstance(node, yaml.MappingNode) and node.value and name not in fields:
                self._note(node, f"{path}.{name}", "a value", None)
        return fields

    def _items(self, node: Node, path: str) -> list[tuple[Node, Node]]:
        """The pairs of a mapping that holds some, and none of them twice."""
        if node is None:
            return []
        if not isinstance(node, yaml.MappingNode) or not node.value:
            self._note(node, path, "keys with values", node)
            return []
        seen: set[str] = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode) and key.value in seen:
                self._note(key, path, "each key once", key)
            seen.add(str(key.value) if isinstance(key, yaml.ScalarNode) else "")
        return list(node.value)

    def _list(self, node: Node, path: str) -> list[Node]:
        if node is None:
            return []
        if not isinstance(node, yaml.SequenceNode):
            self._note(node, path, "a list", node)
            return []
        return list(node.value)

    def _text(self, node: Node, path: str, pattern: re.Pattern[str]) -> str:
        if node is None:
            return ""
        if node.tag == _TEXT and pattern.fullmatch(node.value):
            return str(node.value)
        self._note(
            node, path, "up to 63 lowercase letters, digits and underscores, first a letter", node
        )
        return ""

    def _one_of(self, node: Node, path: str, known: Collection[str]) -> str:
        if node is None:
            return ""
        if node.tag == _TEXT and node.value in known:
            return str(node.value)
        near = (
            get_close_matches(node.value, known, n=1) if isinstance(node, yaml.ScalarNode) else []
        )
        guess = f" (did you mean {near[0]}?)" if near else ""
        self._note(node, path, f"one of {', '.join(known)}", node, guess)
        return ""

    def _flag(self, node: Node, path: str) -> bool:
        if node is None:
            return False
        if node.tag != _BOOL:
            self._note(node, path, "true or false", node)
        return str(node.value).lower() in ("true", "yes", "on")

    def _span(self, node: Node, path: str, most_ms: int) -> int:
        """A span in ms, above 0."""
        if node is None:
            return 1
        span_ms = _as_span_ms(node)
        if span_ms is None or not 0 < span_ms <= most_ms:
            self._note(
                node,
                path,
                f"a span above 0 and up to {span_text(most_ms)}, such as 30m, 24h or 7d",
                node,
            )
            return 1
        return span_ms

    def _number(self, node: Node, path: str, signal: str) -> float | None:
        """A number; where the signal is in seconds, a span too."""
        is_time = signal.endswith("_s")
        if is_time and (span_ms := _as_span_ms(node)) is not None:
            return span_ms / 1000
        if (
            isinstance(node, yaml.ScalarNode)
            and node.style is None
            and _NUMBER.fullmatch(node.value)
        ):
            return float(node.value)
        self._note(node, path, "seconds, or a span such as 30m" if is_time else "a number", node)
        return None

    def _note(self, node: Node, path: str, expected: str, got: object, hint: str = "") -> None:
        shown = _shown(got)
        text = f"{self._file}:{_line(node)}: {path}: expected {expected}, got {shown}{hint}"
        self.problems.append((_line(node), text))


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


def _as_span_ms(node: Node) -> int | None:
    found = _SPAN.fullmatch(node.value) if isinstance(node, yaml.ScalarNode) else None
    return int(found.group(1)) * SPAN_MS[found.group(2)] if found else None


def _line(node: Node) -> int:
    return int(node.start_mark.line) + 1


def _shown(value: object) -> str:
    if value is None:
        return "nothing"
    if isinstance(value, yaml.MappingNode):
        return "keys with values" if value.value else "nothing"
    if isinstance(value, yaml.SequenceNode):
        return "a list"
    text = value.value if isinstance(value, yaml.ScalarNode) else str(value)
    return repr(text if len(text) <= 60 else f"{text[:57]}...")


def main(argv: Sequence[str]) -> int:
    """Check a file of rules, or write the tables of the documentation; returns the exit status."""
    try:
        if list(argv) == ["--docs"]:
            DOCS_FILE.write_text(documented(DOCS_FILE.read_text(), load()))
            sys.stdout.write(f"wrote the tables of {DOCS_FILE.name}\n")
            return 0
        path = argv[0] if argv else DEFAULT_FILE
        rules = load(path)
    except InvalidRules as error:
        sys.stderr.write(f"{error}\n")
        return 1
    sys.stdout.write(
        f"{path}: {len(rules.campaigns)} campaigns, {len(rules.anomalies)} anomaly rules\n"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
