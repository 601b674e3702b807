"""Places of visitors, as vendors name them."""

from __future__ import annotations

from typing import Any

from pipeline.core.context import country_code


def country_of(value: Any) -> dict[str, str]:
    """`country`, which is an ISO 3166-1 alpha-2 code, or `country_name` where a vendor has the
    name; else nothing.
    """
    code = country_code(value)
    if code is not None:
        return {"country": code}
    return {"country_name": value} if isinstance(value, str) and len(value) > 2 else {}
