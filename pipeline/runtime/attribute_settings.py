"""Reads the declared types of attributes, FRESHET_ATTRIBUTES: a YAML file, or its text."""

from __future__ import annotations

from collections.abc import Mapping
from typing import cast

from pipeline.core.attributes import ATTRIBUTE_TYPES, MAX_NAMES, AttributeType, check_name
from pipeline.core.invalid_item import InvalidItem
from pipeline.runtime.environ import InvalidConfig
from pipeline.runtime.yaml_reader import InvalidFile, Node, YamlReader, compose, content_of

VARIABLE = "FRESHET_ATTRIBUTES"
_FIELD = "attributes"


def attributes_from_env(environ: Mapping[str, str]) -> dict[str, AttributeType] | None:
    """The declared types by name; None where the variable is unset, and types are inferred.

    Raises:
        InvalidConfig: naming file, line, field, value and expectation of all that is wrong.
    """
    text = environ.get(VARIABLE, "").strip()
    if not text:
        return None
    content, file = content_of(VARIABLE, text)
    try:
        return parse_attributes(content, file)
    except InvalidFile as error:
        raise InvalidConfig(str(error)) from None


def parse_attributes(content: bytes, file: str) -> dict[str, AttributeType]:
    """The types that YAML such as `color: text` declares; `file` names it in messages.

    Raises:
        InvalidFile: naming for every problem file, line, field, value and expectation.
    """
    root = compose(content, file)
    if root is None:
        raise InvalidFile([f"{file}:1: {_FIELD}: expected names with types, got an empty file"])
    reader = _Reader(file)
    types = reader.types(root)
    reader.check()
    return types


class _Reader(YamlReader):
    """Reads names with types."""

    def types(self, root: Node) -> dict[str, AttributeType]:
        pairs = self.pairs(root, _FIELD)
        if len(pairs) > MAX_NAMES:
            self.note(root, _FIELD, f"at most {MAX_NAMES} names", str(len(pairs)))
        return {self._name(key): self._type(key, value) for key, value in pairs}

    def _name(self, node: Node) -> str:
        try:
            check_name(node.value)
        except InvalidItem as error:
            self.note(node, _FIELD, error.reason.removeprefix("expected "), node)
            return ""
        return str(node.value)

    def _type(self, key: Node, node: Node) -> AttributeType:
        return cast(AttributeType, self.one_of(node, f"{_FIELD}.{key.value}", ATTRIBUTE_TYPES))
