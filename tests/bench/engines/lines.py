"""Lines of code, counted the same way for every engine."""

from __future__ import annotations

import ast
import io
import tokenize
from collections.abc import Collection

_LAYOUT = {
    tokenize.COMMENT,
    tokenize.NL,
    tokenize.NEWLINE,
    tokenize.INDENT,
    tokenize.DEDENT,
    tokenize.ENDMARKER,
}


def code_lines(source: str, classes: Collection[str] | None = None) -> int:
    """Lines of `source` with code in them, of `classes` alone where given: no blank, comment,
    docstring or import.
    """
    tree = ast.parse(source)
    tokens = tokenize.generate_tokens(io.StringIO(source).readline)
    code = {
        line
        for token in tokens
        if token.type not in _LAYOUT
        for line in range(token.start[0], token.end[0] + 1)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Import | ast.ImportFrom) or _is_docstring(node):
            code -= _span(node)
    if classes is not None:
        found = [
            node for node in tree.body if isinstance(node, ast.ClassDef) and node.name in classes
        ]
        code &= set().union(*map(_span, found))
    return len(code)


def _is_docstring(node: ast.AST) -> bool:
    return (
        isinstance(node, ast.Expr)
        and isinstance(node.value, ast.Constant)
        and isinstance(node.value.value, str)
    )


def _span(node: ast.AST) -> set[int]:
    return set(range(getattr(node, "lineno", 0), getattr(node, "end_lineno", 0) + 1))
