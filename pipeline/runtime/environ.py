"""Readers of environment variables, shared by the configuration of every deployable."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar

Value = TypeVar("Value")

MIN_KEY_BYTES, MAX_KEY_BYTES = 16, 64
MIN_RATE_PER_S = 0.001
MIN_BURST = 1.0
MAX_REQUESTS = 1e6
MAX_PORT = 65_535
_FLAGS = {"": False, "0": False, "false": False, "1": True, "true": True}


class InvalidConfig(ValueError):
    """A required variable is missing or a variable has a value that cannot be used; the message
    names it.
    """


def required(environ: Mapping[str, str], name: str) -> str:
    """The variable's text.

    Raises:
        InvalidConfig: naming the variable, when it is unset or empty.
    """
    text = environ.get(name, "")
    if not text:
        raise InvalidConfig(f"{name}: required, expected a non-empty text")
    return text


def project_id(environ: Mapping[str, str]) -> str:
    """The Google Cloud project, `GOOGLE_CLOUD_PROJECT`.

    Raises:
        InvalidConfig: when it is unset or empty.
    """
    return required(environ, "GOOGLE_CLOUD_PROJECT")


def dataset_name(environ: Mapping[str, str]) -> str:
    """The BigQuery dataset, `FRESHET_DATASET`; `freshet`, as Terraform names it, when unset."""
    return environ.get("FRESHET_DATASET") or "freshet"


def bigtable_instance(environ: Mapping[str, str]) -> str:
    """The Bigtable instance, `FRESHET_BIGTABLE_INSTANCE`; `freshet`, as Terraform names it, when
    unset.
    """
    return environ.get("FRESHET_BIGTABLE_INSTANCE") or "freshet"


def pubsub_emulator(environ: Mapping[str, str]) -> str | None:
    """The Pub/Sub emulator's `host:port`, `PUBSUB_EMULATOR_HOST`; None: Google Cloud."""
    return environ.get("PUBSUB_EMULATOR_HOST") or None


def bigquery_emulator(environ: Mapping[str, str]) -> str | None:
    """The BigQuery emulator's address, `BIGQUERY_EMULATOR_HOST`; None: Google Cloud."""
    return environ.get("BIGQUERY_EMULATOR_HOST") or None


def between(name: str, text: str, low: float, high: float) -> float:
    """The number that a text holds, from `low` to `high`, both included.

    Raises:
        InvalidConfig: naming the variable, its value and the bounds.
    """
    try:
        value = float(text)
    except ValueError:
        value = float("nan")
    if not low <= value <= high:
        raise InvalidConfig(f"{name}: expected a number from {low:g} to {high:g}, got {text!r}")
    return value


def number(environ: Mapping[str, str], name: str, default: float, low: float, high: float) -> float:
    """The variable's number, from `low` to `high`, both included.

    Raises:
        InvalidConfig: naming the variable, its value and the bounds.
    """
    text = environ.get(name)
    return between(name, text, low, high) if text else default


def whole_number(environ: Mapping[str, str], name: str, default: int, low: int, high: int) -> int:
    """The variable's whole number, from `low` to `high`, both included.

    Raises:
        InvalidConfig: naming the variable, its value and the bounds.
    """
    text = environ.get(name)
    if not text:
        return default
    try:
        value = float(text)
    except ValueError:
        value = float("nan")
    if not low <= value <= high or not value.is_integer():
        raise InvalidConfig(f"{name}: expected a whole number from {low} to {high}, got {text!r}")
    return int(value)


def port(environ: Mapping[str, str], name: str, default: int) -> int:
    """The variable's TCP port, 1 to 65535.

    Raises:
        InvalidConfig: naming the variable and its value.
    """
    return whole_number(environ, name, default, 1, MAX_PORT)


def rate_per_s(environ: Mapping[str, str], name: str) -> float | None:
    """Requests a second, 0.001 to a million; None without a limit.

    Raises:
        InvalidConfig: naming the variable, its value and the bounds.
    """
    text = environ.get(name)
    return between(name, text, MIN_RATE_PER_S, MAX_REQUESTS) if text else None


def burst(environ: Mapping[str, str], name: str) -> float | None:
    """Requests at once, 1 to a million; None when unset.

    Raises:
        InvalidConfig: naming the variable, its value and the bounds.
    """
    text = environ.get(name)
    return between(name, text, MIN_BURST, MAX_REQUESTS) if text else None


def choice(
    environ: Mapping[str, str], name: str, values: Mapping[str, Value], default: Value
) -> Value:
    """The value of the word in a variable, in any case; the default when unset.

    Raises:
        InvalidConfig: naming the variable, its value and the words.
    """
    word = environ.get(name, "").strip().lower()
    if not word:
        return default
    if word not in values:
        *first, last = values
        raise InvalidConfig(f"{name}: expected {', '.join(first)} or {last}, got {word!r}")
    return values[word]


def flag(environ: Mapping[str, str], name: str) -> bool:
    """True for a variable that is 1 or true; False for one that is unset, 0 or false.

    Raises:
        InvalidConfig: naming the variable and its value.
    """
    text = environ.get(name, "").lower()
    if text not in _FLAGS:
        raise InvalidConfig(f"{name}: expected 0 or 1, got {text!r}")
    return _FLAGS[text]


def names(environ: Mapping[str, str], name: str, default: str = "") -> list[str]:
    """The comma-separated names in a variable, without the spaces around them."""
    return [part.strip() for part in environ.get(name, default).split(",") if part.strip()]


def secret_key(environ: Mapping[str, str], name: str) -> bytes | None:
    """The secret in a variable, 16 to 64 bytes; None when unset.

    Raises:
        InvalidConfig: naming the variable, without its value.
    """
    secret = environ.get(name, "").strip().encode()
    if secret and not MIN_KEY_BYTES <= len(secret) <= MAX_KEY_BYTES:
        raise InvalidConfig(
            f"{name}: expected {MIN_KEY_BYTES} to {MAX_KEY_BYTES} bytes, got {len(secret)}"
        )
    return secret or None
