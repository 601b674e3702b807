"""The ports of one local stack: fixed ones to remember, or free ones to run beside another
stack."""

from __future__ import annotations

import random
import socket
from dataclasses import dataclass, fields, replace

HOST = "127.0.0.1"
# Below Linux's range for outgoing connections: none of those takes a port between our look and its
# use.
FREE_RANGE = range(20_000, 32_000)


class PortTaken(RuntimeError):
    """A port of the stack is in use; the message says which, and by what to change it."""


@dataclass(frozen=True)
class Ports:
    """One port for each server, by its name in the Procfile; `bigquery_grpc` is BigQuery's
    second."""

    store: int = 8000
    collector: int = 8080
    api: int = 8081
    predictor: int = 8082
    pubsub: int = 8085
    bigtable: int = 8086
    bigquery: int = 9050
    bigquery_grpc: int = 9060

    def items(self) -> list[tuple[str, int]]:
        """(name, port), in the order of the fields."""
        return [(field.name, getattr(self, field.name)) for field in fields(self)]


def is_free(port: int) -> bool:
    """Whether a server could listen on the port of the loopback now."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
        return True


def free_ports() -> Ports:
    """Ports that nobody listens on, chosen at random so that two stacks starting at once do not
    meet.
    """
    picked = [port for port in random.SystemRandom().sample(FREE_RANGE, 200) if is_free(port)]
    return Ports(*picked[: len(fields(Ports))])


def parse_ports(text: str | None) -> Ports:
    """The ports asked for: nothing or "default", "auto" for free ones, or "store=9000,api=9081".

    Raises ValueError, with the name, the value and what was expected.
    """
    if text in (None, "", "default"):
        return Ports()
    if text == "auto":
        return free_ports()
    return replace(Ports(), **dict(_parse_port(part) for part in str(text).split(",")))


def _parse_port(part: str) -> tuple[str, int]:
    name, _, value = part.partition("=")
    names = [field.name for field in fields(Ports)]
    if name not in names or not value.isdecimal() or not 0 < int(value) < 65_536:
        raise ValueError(
            f"ports: expected auto, or name=port with a name of {', '.join(names)}; got {part!r}"
        )
    return name, int(value)


def refuse_taken(ports: Ports, names: set[str]) -> None:
    """Raises PortTaken when something listens already where one of these parts would."""
    taken = [
        (name, port)
        for name, port in ports.items()
        if name.split("_")[0] in names and not is_free(port)
    ]
    if not taken:
        return
    which = ", ".join(f"{port} (for {name})" for name, port in taken)
    change = ",".join(f"{name}={port + 1000}" for name, port in taken)
    raise PortTaken(
        f"in use already: port {which}. Is another stack up (`make status`, `make down`)? "
        f"Else choose others: PORTS={change} make up, or PORTS=auto make up"
    )
