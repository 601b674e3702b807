"""Filters: compiling one of ten terms, and its mask over the candidates of an answer and over a
whole catalog.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Mapping
from statistics import median

import numpy as np

from pipeline.core.attribute_columns import AttributeColumns
from pipeline.core.attributes import AttributeType
from pipeline.core.expressions.compiler import compile_expression
from pipeline.core.expressions.fields import KIND_OF_ATTRIBUTE, FieldTypes, Kind, Scalar
from tests.bench.rows import Row, row

CATALOG, CANDIDATES = 100_000, 200
REPEATS = 15
NOW_MS = 1_764_547_200_000
TYPES: dict[str, AttributeType] = {
    "price": "number",
    "was_price": "number",
    "category": "text",
    "brand": "text",
    "in_stock": "boolean",
    "adult": "boolean",
    "published_at": "time",
    "regions": "list",
    "tags": "list",
}
FIELDS = FieldTypes(
    {name: KIND_OF_ATTRIBUTE[kind] for name, kind in TYPES.items()},
    {"visitor.brands": Kind.TEXTS, "context.country": Kind.TEXT},
)
TEN_TERMS = """
price < 50 and price >= 5 and price < was_price and in_stock and not adult
and context.country in regions and category under ["c1", "c2.s3"] and published_at > now - 90d
and (brand in visitor.brands or "sale" in tags)
"""
SCALARS: Mapping[str, Scalar] = {
    "now": NOW_MS,
    "visitor.brands": ["b7", "b8"],
    "context.country": "nl",
}


def run() -> list[Row]:
    """Microseconds of one core, the median of several."""
    columns = _catalog()
    every = np.arange(CATALOG, dtype=np.int32)
    few = np.random.default_rng(0).choice(every, CANDIDATES, replace=False)
    expression = compile_expression(TEN_TERMS, FIELDS)
    compiling = _median_us(lambda: compile_expression.__wrapped__(TEN_TERMS, FIELDS), 1)
    of_few = _median_us(lambda: expression.mask(columns, few, SCALARS), 100)
    of_all = _median_us(lambda: expression.mask(columns, every, SCALARS), 1)
    cached = _median_us(lambda: compile_expression(TEN_TERMS, FIELDS), 100)
    return [
        row(
            "filter of 10 terms: compile",
            compiling,
            "us",
            floor="found compiled",
            floor_value=cached,
        ),
        row(f"filter of 10 terms: {CANDIDATES} items", of_few, "us"),
        row(f"filter of 10 terms: {CATALOG:,} items", of_all, "us"),
    ]


def _median_us(step: Callable[[], object], times: int) -> float:
    step()
    found = []
    for _ in range(REPEATS):
        began = time.process_time()
        for _ in range(times):
            step()
        found.append((time.process_time() - began) / times)
    return median(found) * 1e6


def _catalog() -> AttributeColumns:
    chance = random.Random(0)
    columns = AttributeColumns(TYPES)
    for place in range(CATALOG):
        columns.put(
            place,
            {
                "price": chance.uniform(1, 100),
                "was_price": chance.uniform(1, 100),
                "category": f"c{chance.randrange(10)}.s{chance.randrange(20)}",
                "brand": f"b{chance.randrange(500)}",
                "in_stock": chance.random() < 0.9,
                "adult": chance.random() < 0.05,
                "published_at": NOW_MS - chance.randrange(400 * 86_400_000),
                "regions": chance.sample(["nl", "be", "de", "fr", "uk"], 3),
                "tags": chance.sample(["sale", "new", "eco", "gift"], 2),
            },
        )
    return columns
