"""The local stack's command line: `python -m tests.stack up|down|status|bootstrap|exec`."""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Mapping, Sequence

from tests.stack import presence
from tests.stack.environment import DEFAULT, NotUp, load_env
from tests.stack.ports import PortTaken
from tests.stack.prerequisites import REPO, Missing
from tests.stack.presence import StackError
from tests.stack.stack import ANSWER_S, APPS, EMULATORS, Stack, running_stack

WATCH_S = 0.3
OVERRIDABLE = ("FRESHET_BACKFILL_KEY", "FRESHET_ITEM_TTL_DAYS", "FRESHET_MAX_ITEMS")
"""What the stack has a value of its own for, and whoever starts it may have another."""


def up(options: argparse.Namespace) -> int:
    """Starts the stack, shows what runs where, and stays until told to stop or until a process
    ends.
    """
    began = time.monotonic()
    own = {name: os.environ[name] for name in OVERRIDABLE if os.environ.get(name)}
    with running_stack(
        options.name, options.ports, options.only, own, _say, _origins(options.origin)
    ) as stack:
        _say(f"up after {time.monotonic() - began:.1f} s\n\n{stack.table()}\n")
        _say(
            f"logs are in {(stack.folder / 'logs').relative_to(REPO)}; Ctrl-C or `make down` stops "
            "all of it"
        )
        _watch(stack)
    return 0


def _origins(text: str) -> list[str]:
    """Origins with commas between, as browsers write them. Raises ValueError for what is none."""
    from functions.access.sites import checked_origin  # not for `down`, which is to be quick

    return [checked_origin("origin", origin) for origin in text.split(",") if origin.strip()]


def _watch(stack: Stack) -> None:
    while True:
        stack.check()
        time.sleep(WATCH_S)


def down(options: argparse.Namespace) -> int:
    """Stops the stack wherever it was started; no stack is no fault."""
    stopped = presence.shut_down(options.name)
    _say("stopped" if stopped else f"no stack named {options.name!r} is up")
    return 0


def status(options: argparse.Namespace) -> int:
    """Shows what runs where; exit code 3 when nothing does."""
    if not presence.is_up(options.name):
        _say(f"no stack named {options.name!r} is up: start it with `make up`")
        return 3
    print(presence.describe(_env(options.name), presence.processes(options.name)))
    return 0


def bootstrap(options: argparse.Namespace) -> int:
    """Makes topics, tables and views in emulators that are up, also ones that something else
    started.
    """
    # Google's clients take seconds to import: not for `down`
    from tests.stack.bootstrap import bootstrap

    env = _env(options.name) if presence.is_up(options.name) else os.environ
    parts = set(EMULATORS) & set(options.only)
    if options.wait:
        _wait_for(parts, env)
    bootstrap(env, parts)
    return 0


def _wait_for(parts: set[str], env: Mapping[str, str]) -> None:
    from tests.stack.readiness import wait_until_answered

    for part in parts:
        wait_until_answered(part, env, ANSWER_S)


def execute(options: argparse.Namespace) -> int:
    """Replaces this process by a command that knows where the stack is."""
    if not options.command:
        raise StackError(
            "exec: expected a command, as in: exec -- python -m pipeline.ops.catalog FILE"
        )
    os.execvpe(options.command[0], options.command, {**os.environ, **_env(options.name)})


def _env(name: str) -> Mapping[str, str]:
    if not presence.is_up(name):
        raise NotUp(f"no stack named {name!r} is up: start it with `make up`")
    return load_env(name)


def _say(line: str) -> None:
    print(f"stack: {line}", flush=True)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.stack", description=__doc__)
    commands = parser.add_subparsers(required=True)
    for run in (up, down, status, bootstrap, execute):
        command = commands.add_parser(run.__name__.replace("execute", "exec"), help=run.__doc__)
        command.set_defaults(run=run)
        command.add_argument("--name", default=DEFAULT, help="which stack, where there are several")
        if run in (up, bootstrap):
            command.add_argument(
                "--only", type=lambda text: text.split(","), default=[*EMULATORS, *APPS]
            )
        if run is bootstrap:
            command.add_argument("--wait", action="store_true", help="until the emulators answer")
        if run is up:
            command.add_argument("--ports", default="default", help="auto, or name=port,...")
            command.add_argument(
                "--origin",
                default="",
                help="pages that may call collector and API beside the store's",
            )
        if run is execute:
            command.add_argument("command", nargs="*")
    return parser


def main(arguments: Sequence[str]) -> int:
    """Runs one command; what a person can put right is one clear message and exit code 1."""
    options = _parser().parse_args(arguments)
    try:
        return int(options.run(options))
    except (Missing, NotUp, PortTaken, StackError, ValueError) as error:
        print(f"stack: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        _say("stopped")
        return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
