"""JSON instances to a matrix: rows of numbers, or objects that name their features."""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from pipeline.core.events import check_work
from pipeline.core.features.ranking import COLUMN, FEATURE_NAMES

Matrix = NDArray[np.float32]

# Serving ranks free of position: it may be left out.
_OPTIONAL = frozenset({"position"})
_LARGEST = float(np.finfo(np.float32).max)


class InvalidInstances(ValueError):
    """A request that `predict` cannot answer; the message says which instance, what was expected
    and what came.
    """


def parse_instances(body: bytes) -> Matrix:
    """The matrix `(n, d)` of `{"instances": [...]}`, in the order of `FEATURE_NAMES`.

    Each instance is a list of `d` numbers, or an object with a number for each feature; `position`
    may be missing.

    Raises:
        InvalidInstances: for anything else, and for numbers that float32 does not hold.
        TooMuch: for more than `check_work` allows.
    """
    check_work(body)
    try:
        request = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidInstances(f"body: expected JSON, got {error}") from None
    instances = request.get("instances") if isinstance(request, dict) else None
    if not isinstance(instances, list):
        raise InvalidInstances('body: expected {"instances": [...]}')
    rows = [_row(number, instance) for number, instance in enumerate(instances)]
    return np.array(rows, np.float32).reshape(len(rows), len(FEATURE_NAMES))


def _row(number: int, instance: Any) -> list[float]:
    if isinstance(instance, dict):
        instance = _by_name(number, instance)
    if not isinstance(instance, list):
        raise InvalidInstances(
            f"instances[{number}]: expected a list or an object, got {_kind(instance)}"
        )
    if len(instance) != len(FEATURE_NAMES):
        raise InvalidInstances(
            f"instances[{number}]: expected {len(FEATURE_NAMES)} numbers, got {len(instance)}"
        )
    for value in instance:
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            raise InvalidInstances(f"instances[{number}]: expected numbers, got {_kind(value)}")
        if abs(value) > _LARGEST:
            raise InvalidInstances(f"instances[{number}]: expected numbers that float32 holds")
    return instance


def _by_name(number: int, instance: dict[str, Any]) -> list[Any]:
    unknown = sorted(instance.keys() - COLUMN.keys())
    missing = sorted(COLUMN.keys() - instance.keys() - _OPTIONAL)
    if unknown or missing:
        raise InvalidInstances(
            f"instances[{number}]: expected the features {', '.join(FEATURE_NAMES)}; "
            f"unknown: {', '.join(unknown[:8]) or 'none'}; missing: {', '.join(missing) or 'none'}"
        )
    return [instance.get(name, 0.0) for name in FEATURE_NAMES]


def _kind(value: Any) -> str:
    return "null" if value is None else type(value).__name__
