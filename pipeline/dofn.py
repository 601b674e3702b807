"""A DoFn that is cheap to set up, for a runner that sets it up for every bundle."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from types import MethodType
from typing import Any

import apache_beam as beam
from apache_beam.transforms.core import get_function_args_defaults

# The names of timer callbacks.
TIMERS = ("forget", "flush", "finish", "look_again")

Arguments = tuple[list[str], list[Any]]


@cache
def _arguments(step: Any, method: str) -> Arguments:
    """Names and defaults of a method's arguments."""
    found: Arguments = get_function_args_defaults(MethodType(getattr(step, method), step))
    return found


def _inspector(method: str) -> Callable[[beam.DoFn], Arguments]:
    def inspect_method(self: beam.DoFn) -> Arguments:
        step: Any = type(self)
        return _arguments(step, method)

    return inspect_method


class LeanDoFn(beam.DoFn):
    """A DoFn whose methods Beam need not inspect again and again.

    Beam's DirectRunner reads the signature of every method that `dir` names, of every DoFn, several times a bundle, and
    a plain DoFn has forty. This one names only the methods it defines, and
    answers for their signatures itself, by the `_inspect_` methods that Beam asks for first. On other runners nothing
    changes.
    """

    def __init__(self) -> None:
        """Nothing to set up; here for its types, which Beam's own lacks."""

    _inspect_process = _inspector("process")
    _inspect_start_bundle = _inspector("start_bundle")
    _inspect_finish_bundle = _inspector("finish_bundle")
    _inspect_forget = _inspector("forget")
    _inspect_flush = _inspector("flush")
    _inspect_finish = _inspector("finish")
    _inspect_look_again = _inspector("look_again")

    def __dir__(self) -> list[str]:
        called = (*("setup", "start_bundle", "process", "finish_bundle", "teardown"), *TIMERS)
        return [name for name in called if getattr(type(self), name, None) is not getattr(beam.DoFn, name, None)]
