"""The tables of docs/features.md, from the features themselves: `make docs`, or
`python -m pipeline.ops.feature_docs`.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from pipeline.core import interests, item_tapes, items, profile, session_totals
from pipeline.core.features import ranking, visitor
from pipeline.core.features.item import ITEM_FEATURES, SCOPE_FEATURES
from pipeline.core.features.ranking import RANKING_FEATURES
from pipeline.core.features.visitor import VISITOR_FEATURES
from pipeline.runtime.generated_parts import with_part

REPO = Path(__file__).parents[2]
DOCUMENT = REPO / "docs" / "features.md"
_CORE_TESTS = REPO / "tests" / "pipeline" / "core"
_HEAD = ("feature", "means", "computed as", "unit", "range", "default")
_NEWEST, _HEAVIEST, _HASHES = "the newest", "the heaviest", "those with the smallest hashes"

# (of, what, how many, which remain, whether that depends on the order of the stream)
BOUNDS: tuple[tuple[str, str, int, str, str], ...] = (
    (
        "visitor",
        "events remembered, against duplicates",
        profile.MAX_SEEN_IDS,
        "those that arrived last",
        "yes",
    ),
    ("visitor", "recent items", profile.MAX_RECENT_ITEMS, _NEWEST, "no"),
    ("visitor", "items that went into or out of the cart", profile.MAX_CART_ITEMS, _NEWEST, "no"),
    ("visitor", "searches", profile.MAX_QUERIES, _NEWEST, "no"),
    ("visitor", "impressions", item_tapes.MAX_IMPRESSIONS, _NEWEST, "no"),
    ("visitor", "clicks on what was recommended", item_tapes.MAX_SLATE_CLICKS, _NEWEST, "no"),
    ("visitor", "purchases, one by one", item_tapes.MAX_PURCHASES, _NEWEST, "no"),
    (
        "visitor",
        "characters of a search, referrer or campaign",
        profile.MAX_KEPT_TEXT,
        "the first",
        "no",
    ),
    ("visitor", "categories of interest", interests.MAX_CATEGORIES, _HEAVIEST, "beyond the bound"),
    ("visitor", "brands of interest", interests.MAX_BRANDS, _HEAVIEST, "beyond the bound"),
    ("visitor", "sessions at a time", profile.MAX_SESSIONS, _NEWEST, "beyond the bound"),
    ("session", "different items touched", session_totals.MAX_SESSION_ITEMS, _HASHES, "no"),
    ("session", "searches", session_totals.MAX_SESSION_SEARCHES, "the first", "no"),
    ("session", "times of touches", session_totals.MAX_SESSION_TOUCHES, "the first", "no"),
    ("session", "different items bought", session_totals.MAX_SESSION_PURCHASES, _HASHES, "no"),
    (
        "session",
        "categories",
        session_totals.MAX_SESSION_CATEGORIES,
        "the most viewed",
        "beyond the bound",
    ),
    ("item", "neighbours of each kind", items.MAX_NEIGHBOURS_KEPT, _HEAVIEST, "beyond the bound"),
    ("category, shop", "items that trend", items.MAX_TRENDING, "the most popular", "no"),
)


def parts() -> dict[str, str]:
    """The generated parts of the document in Markdown, by the name that their markers have."""
    return {
        "bounds": _bounds(),
        "visitor": _features(VISITOR_FEATURES),
        "item": _features(ITEM_FEATURES),
        "scope": _features(SCOPE_FEATURES),
        "ranking": _features(RANKING_FEATURES),
        "a visitor's row": _code(call_in(_source(visitor), "VisitorFeature", "cart_value")),
        "its story": _code(
            call_in(_CORE_TESTS / "features" / "test_visitor.py", "Story", "cart_value")
        ),
        "a ranking row": _code(call_in(_source(ranking), "RankingFeature", "item_carts_7d")),
        "its test": _code(
            function_in(_CORE_TESTS / "features" / "test_ranking.py", "item_carts_7d")
        ),
    }


def documented(text: str) -> str:
    """`text` with each generated part between its two markers.

    Raises:
        ValueError: when `text` lacks a marker.
    """
    for name, part in parts().items():
        text = with_part(text, *markers(name), part)
    return text


def markers(name: str) -> tuple[str, str]:
    """The lines before and after a generated part."""
    return f"<!-- {name}: begin, written by `make docs` -->", f"<!-- {name}: end -->"


def call_in(path: Path, function: str, name: str) -> str:
    """The source of the first call `function(name, ...)` in a Python file.

    Raises:
        ValueError: when there is none.
    """
    source = path.read_text("utf-8")
    calls = (
        node
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Call) and _calls(node, function, name)
    )
    return _segment(
        source, next(calls, None), f"{path.name}: expected a call {function}({name!r}, ...)"
    )


def function_in(path: Path, name: str) -> str:
    """The source of the first function in a Python file that mentions `name`.

    Raises:
        ValueError: when there is none.
    """
    source = path.read_text("utf-8")
    functions = (
        node
        for node in ast.parse(source).body
        if isinstance(node, ast.FunctionDef) and _names(node, name)
    )
    return _segment(
        source, next(functions, None), f"{path.name}: expected a function that names {name!r}"
    )


def main() -> None:
    """Write docs/features.md anew."""
    DOCUMENT.write_text(documented(DOCUMENT.read_text("utf-8")), "utf-8")


def _features(rows: Iterable[Any]) -> str:
    return _table(
        _HEAD,
        [(f"`{f.name}`", f.meaning, f.formula, f.unit, f.range, _default(f.default)) for f in rows],
    )


def _bounds() -> str:
    head = ("of", "what is kept", "at most", "which remain", "depends on order")
    return _table(
        head, [(of, what, f"{limit:,}", remain, order) for of, what, limit, remain, order in BOUNDS]
    )


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [
        head,
        ("---",) * len(head),
        *([cell.replace("|", "\\|") for cell in row] for row in rows),
    ]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def _default(value: Any) -> str:
    if isinstance(value, (int, float)):
        return f"{value:g}"
    return "empty"


def _code(source: str) -> str:
    return f"```python\n{source}\n```"


def _source(module: Any) -> Path:
    return Path(module.__file__)


def _calls(node: ast.Call, function: str, name: str) -> bool:
    if not isinstance(node.func, ast.Name) or node.func.id != function:
        return False
    named = [keyword.value for keyword in node.keywords if keyword.arg == "name"]
    first = [*node.args, *named][:1]
    return [value.value for value in first if isinstance(value, ast.Constant)] == [name]


def _names(node: ast.FunctionDef, name: str) -> bool:
    return any(isinstance(part, ast.Constant) and part.value == name for part in ast.walk(node))


def _segment(source: str, node: ast.expr | ast.stmt | None, expectation: str) -> str:
    """The lines of a node, as they are indented in the file, to the left."""
    if node is None or node.end_lineno is None:
        raise ValueError(expectation)
    lines = source.splitlines()[node.lineno - 1 : node.end_lineno]
    indent = len(lines[0]) - len(lines[0].lstrip())
    return "\n".join(line[indent:] for line in lines).removesuffix(",")


if __name__ == "__main__":
    main()
