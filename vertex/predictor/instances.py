"""JSON instances to a matrix: rows of numbers, or objects that name their features."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from pipeline.core.json_limits import check_work

Matrix = NDArray[np.float32]

# Serving ranks free of position: it may be left out.
_OPTIONAL = frozenset({"position"})
_LARGEST = float(np.finfo(np.float32).max)


class InvalidInstances(ValueError):
    """A request that `predict` cannot answer; the message says which instance, what was expected
    and what came.
    """


def parse_instances(body: bytes, names: Sequence[str]) -> Matrix:
    """The matrix `(n, d)` of `{"instances": [...]}`, in the order of `names`, `d` of them.

    Each instance is a list of `d` numbers, or an object with a number under each name; `position`
    may be missing, and what it holds under other names is ignored, as another model may use it.

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
    rows = [_row(number, instance, names) for number, instance in enumerate(instances)]
    return np.array(rows, np.float32).reshape(len(rows), len(names))


def _row(number: int, instance: Any, names: Sequence[str]) -> list[float]:
    if isinstance(instance, dict):
        instance = _by_name(number, instance, names)
    if not isinstance(instance, list):
        raise InvalidInstances(
            f"instances[{number}]: expected a list or an object, got {_kind(instance)}"
        )
    if len(instance) != len(names):
        raise InvalidInstances(
            f"instances[{number}]: expected {len(names)} numbers, got {len(instance)}"
        )
    for value in instance:
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            raise InvalidInstances(f"instances[{number}]: expected numbers, got {_kind(value)}")
        if abs(value) > _LARGEST:
            raise InvalidInstances(f"instances[{number}]: expected numbers that float32 holds")
    return instance


def _by_name(number: int, instance: dict[str, Any], names: Sequence[str]) -> list[Any]:
    missing = [name for name in names if name not in instance and name not in _OPTIONAL]
    if missing:
        raise InvalidInstances(
            f"instances[{number}]: expected the features {', '.join(names)}; "
            f"missing: {', '.join(missing)}"
        )
    return [instance.get(name, 0.0) for name in names]


def _kind(value: Any) -> str:
    return "null" if value is None else type(value).__name__
