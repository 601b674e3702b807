"""Reads files of settings in YAML: all that is wrong is named, each with file, line, field, value
and expectation.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from datetime import UTC, datetime
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import yaml

from pipeline.runtime.environ import InvalidConfig

SPAN_MS = {"s": 1_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}

_NAME = re.compile(r"[a-z][a-z0-9_]{0,62}")
_SPAN = re.compile(r"(\d{1,9})([smhd])")
_NUMBER = re.compile(r"-?(0|[1-9]\d{0,14})(\.\d+)?")
_TEXT, _BOOL = "tag:yaml.org,2002:str", "tag:yaml.org,2002:bool"

Node = Any  # of yaml, which has no types


class InvalidFile(ValueError):
    """A file of settings that cannot be used; `problems` has a line for each thing wrong in it."""

    def __init__(self, problems: Sequence[str]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(self.problems))

    def __reduce__(self) -> tuple[Any, ...]:
        return (type(self), (self.problems,))


def content_of(variable: str, setting: str) -> tuple[bytes, str]:
    """The YAML of a setting that is a file or the YAML itself, and the name of it for messages.

    Raises:
        InvalidConfig: when the file cannot be read.
    """
    if ": " in setting or "\n" in setting:
        return setting.encode(), variable
    try:
        return Path(setting).read_bytes(), setting
    except OSError as error:
        expected = f"{variable}: expected a file that can be read, or the YAML itself"
        raise InvalidConfig(f"{expected}, got {setting!r} ({error.strerror})") from None


def compose(content: bytes | str, file: str) -> Node:
    """The root node of YAML; `file` names it in messages.

    Raises:
        InvalidFile: when it is no YAML.
    """
    try:
        return yaml.compose(content, Loader=yaml.SafeLoader)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f":{mark.line + 1}" if mark else ""
        reason = getattr(error, "problem", None) or getattr(error, "reason", error)
        raise InvalidFile([f"{file}{line}: expected YAML, got {reason}"]) from None


class YamlReader:
    """Walks YAML nodes, which know their lines.

    What is wrong is noted in `problems`, a placeholder read, and the walk goes on; `check` raises
    in the end.
    """

    def __init__(self, file: str) -> None:
        self.file = file
        self.problems: list[tuple[int, str]] = []

    def check(self) -> None:
        """Raise `InvalidFile` with all that was noted, in the order of lines, if anything was."""
        if self.problems:
            raise InvalidFile([text for _, text in sorted(self.problems)])

    def note(self, node: Node, path: str, expected: str, got: object, hint: str = "") -> None:
        """Note a problem at a node."""
        text = f"{self.file}:{line_of(node)}: {path}: expected {expected}, got {_shown(got)}{hint}"
        self.problems.append((line_of(node), text))

    def fields(
        self, node: Node, path: str, required: Sequence[str], optional: Sequence[str]
    ) -> dict[str, Node]:
        """The values of a mapping by key; unknown, doubled and missing keys are noted."""
        known = (*required, *optional)
        fields = {self.one_of(key, path, known): value for key, value in self.pairs(node, path)}
        for name in required:
            if isinstance(node, yaml.MappingNode) and node.value and name not in fields:
                self.note(node, f"{path}.{name}", "a value", None)
        return fields

    def pairs(self, node: Node, path: str) -> list[tuple[Node, Node]]:
        """The pairs of a mapping that holds some, and none of them twice."""
        if node is None:
            return []
        if not isinstance(node, yaml.MappingNode) or not node.value:
            self.note(node, path, "keys with values", node)
            return []
        seen: set[str] = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode) and key.value in seen:
                self.note(key, path, "each key once", key)
            seen.add(str(key.value) if isinstance(key, yaml.ScalarNode) else "")
        return list(node.value)

    def entries(self, node: Node, path: str) -> list[Node]:
        """The entries of a list; none where it is absent."""
        if node is None:
            return []
        if not isinstance(node, yaml.SequenceNode):
            self.note(node, path, "a list", node)
            return []
        return list(node.value)

    def name(self, node: Node, path: str) -> str:
        """A name; empty where it is none."""
        if node is None:
            return ""
        if node.tag == _TEXT and _NAME.fullmatch(node.value):
            return str(node.value)
        self.note(
            node, path, "up to 63 lowercase letters, digits and underscores, first a letter", node
        )
        return ""

    def one_of(self, node: Node, path: str, known: Collection[str]) -> str:
        """One of the known texts; empty where it is none."""
        if node is None:
            return ""
        if node.tag == _TEXT and node.value in known:
            return str(node.value)
        near = (
            get_close_matches(node.value, known, n=1) if isinstance(node, yaml.ScalarNode) else []
        )
        guess = f" (did you mean {near[0]}?)" if near else ""
        self.note(node, path, f"one of {', '.join(known)}", node, guess)
        return ""

    def flag(self, node: Node, path: str) -> bool:
        """True or false; false where it is absent."""
        if node is None:
            return False
        if node.tag != _BOOL:
            self.note(node, path, "true or false", node)
        return str(node.value).lower() in ("true", "yes", "on")

    def span(self, node: Node, path: str, most_ms: int) -> int:
        """A span in ms, above 0."""
        if node is None:
            return 1
        span_ms = span_ms_of(node)
        if span_ms is None or not 0 < span_ms <= most_ms:
            self.note(
                node,
                path,
                f"a span above 0 and up to {span_text(most_ms)}, such as 30m, 24h or 7d",
                node,
            )
            return 1
        return span_ms

    def number(self, node: Node, path: str, low: float, high: float) -> float | None:
        """A number from `low` to `high`; None where it is none."""
        value = number_of(node)
        if value is not None and low <= value <= high:
            return value
        if node is not None:
            self.note(node, path, f"a number from {low:g} to {high:g}", node)
        return None

    def whole(self, node: Node, path: str, low: int, high: int) -> int | None:
        """A whole number from `low` to `high`; None where it is none."""
        value = number_of(node)
        if value is not None and low <= value <= high and value == int(value):
            return int(value)
        if node is not None:
            self.note(node, path, f"a whole number from {low} to {high}", node)
        return None

    def text(self, node: Node, path: str, longest: int) -> str:
        """A text of 1 to `longest` characters; empty where it is none."""
        if node is None:
            return ""
        if isinstance(node, yaml.ScalarNode) and 0 < len(node.value) <= longest:
            return str(node.value)
        self.note(node, path, f"a text of 1 to {longest} characters", node)
        return ""

    def time_ms(self, node: Node, path: str) -> int | None:
        """An RFC 3339 time with its zone, as ms since the Unix epoch; None where it is none."""
        if node is None:
            return None
        try:
            time = datetime.fromisoformat(node.value)
            if time.tzinfo is not None:
                return round(time.astimezone(UTC).timestamp() * 1000)
        except (AttributeError, TypeError, ValueError, OverflowError):
            pass
        self.note(node, path, "a time with its zone, such as 2026-11-27T00:00:00Z", node)
        return None


def span_text(span_ms: int) -> str:
    """A span in ms in the largest unit that divides it, e.g. `24h` as `1d`."""
    unit = next((unit for unit in "dhms" if span_ms % SPAN_MS[unit] == 0), "")
    return f"{span_ms // SPAN_MS[unit]}{unit}" if unit else f"{span_ms / 1000:g}s"


def span_ms_of(node: Node) -> int | None:
    """The ms of a span such as `30m`, None for anything else."""
    found = _SPAN.fullmatch(node.value) if isinstance(node, yaml.ScalarNode) else None
    return int(found.group(1)) * SPAN_MS[found.group(2)] if found else None


def number_of(node: Node) -> float | None:
    """The number of a plain scalar, None for anything else."""
    if not isinstance(node, yaml.ScalarNode) or node.style is not None:
        return None
    return float(node.value) if _NUMBER.fullmatch(node.value) else None


def line_of(node: Node) -> int:
    """The line of a node in its file, from 1."""
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
