"""The filter of a request: parsed before anything is read for the answer, and applied to all that
is shown.
"""

from __future__ import annotations

from collections.abc import Mapping

from pipeline.core.columns import Mask, Rows
from pipeline.core.expressions.compiler import Expression, compile_expression
from pipeline.core.expressions.errors import InvalidExpression
from pipeline.core.expressions.fields import FieldTypes, Scalar
from pipeline.core.item_columns import ItemColumns
from vertex.api.contract import InvalidRequest
from vertex.candidates import Allowed


def parse_filter(text: str, fields: FieldTypes) -> Expression:
    """The filter, compiled for the fields that there are.

    Raises:
        InvalidRequest: naming `filter`, the column, and what was expected there.
    """
    try:
        return compile_expression(text, fields)
    except InvalidExpression as error:
        reason = f"column {error.column}: expected {error.expected}"
        raise InvalidRequest("filter", reason, error.got) from None


def bound(expression: Expression, items: ItemColumns, scalars: Mapping[str, Scalar]) -> Allowed:
    """The items that an expression accepts for these values of visitor and context."""

    def accepted(rows: Rows) -> Mask:
        return expression.mask(items.fields, rows, scalars)

    return accepted
