"""What each process of a local stack is told: its environment, kept in a file for whoever joins
in."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path

from tests.stack import prerequisites
from tests.stack.ports import HOST, Ports

REPO = prerequisites.REPO
PLACEMENTS = REPO / "web" / "store" / "placements.yaml"
DEFAULT = "default"
PROGRAMS = {
    "pubsub": ("PUBSUB_EMULATOR", prerequisites.pubsub_emulator),
    "bigtable": ("BIGTABLE_EMULATOR", prerequisites.bigtable_emulator),
    "bigquery": ("LOCAL_BIGQUERY", prerequisites.local_bigquery),
}
FREE_OF_PROXY = "127.0.0.1,localhost"


class NotUp(RuntimeError):
    """There is no such stack; the message says how to start one."""


def stack_folder(name: str) -> Path:
    """Where the stack of this name keeps its environment, its logs and its data."""
    return REPO / "build" / "stack" / name


def service_environment(ports: Ports, origins: Iterable[str] = ()) -> dict[str, str]:
    """Where everything is and what it is called: all that a client of the stack needs.

    `origins`: whose pages may call collector and API beside the store's.
    """
    store = (f"http://{HOST}:{ports.store}", f"http://localhost:{ports.store}")
    return {
        "GOOGLE_CLOUD_PROJECT": "demo-project",
        "PUBSUB_EMULATOR_HOST": f"{HOST}:{ports.pubsub}",
        "BIGTABLE_EMULATOR_HOST": f"{HOST}:{ports.bigtable}",
        "BIGQUERY_EMULATOR_HOST": f"http://{HOST}:{ports.bigquery}",
        "FRESHET_EVENTS_TOPIC": "events",
        "FRESHET_DEAD_LETTER_TOPIC": "dead-letters",
        "FRESHET_CAMPAIGNS_TOPIC": "campaigns",
        "FRESHET_ANOMALIES_TOPIC": "anomalies",
        "FRESHET_EVENTS_SUBSCRIPTION": "events-pipeline",
        "FRESHET_DEAD_LETTER_SUBSCRIPTION": "dead-letters-pipeline",
        "FRESHET_BIGTABLE_INSTANCE": "freshet",
        "FRESHET_DATASET": "freshet",
        "FRESHET_VERTEX_ENDPOINT": "projects/demo-project/locations/us-central1/endpoints/1",
        "FRESHET_VERTEX_HOST": f"{HOST}:{ports.predictor}",
        "FRESHET_COLLECTOR_URL": f"http://{HOST}:{ports.collector}",
        "FRESHET_API_URL": f"http://{HOST}:{ports.api}",
        "FRESHET_STORE_URL": f"http://{HOST}:{ports.store}",
        "FRESHET_CORS_ORIGINS": ",".join([*store, *origins]),
        "FRESHET_BACKFILL_KEY": "local-backfill",
        "FRESHET_API_KEYS": "local-back-end-key",
        "FRESHET_ALLOW_AS_OF": "1",
        "FRESHET_PROFILE_VIEW": "1",
        # Logs of years ago are replayed here.
        "FRESHET_ITEM_TTL_DAYS": "36500",
        "AIP_HTTP_PORT": str(ports.predictor),
        "AIP_HEALTH_ROUTE": "/healthz",
        "AIP_PREDICT_ROUTE": "/predict",
        # No question to a metadata server that is not there.
        "NO_GCE_CHECK": "true",
    }


def files_environment(name: str) -> dict[str, str]:
    """Models and catalog: in `build` for the default stack, else in the stack's own folder, apart
    from it. The snapshot always goes with the stack: the emulator's items do. Placements: the demo
    store's, unless the shell names others.
    """
    folder = REPO / "build" if name == DEFAULT else stack_folder(name)
    return {
        "FRESHET_MODEL_DIR": str(folder / "models"),
        "FRESHET_CATALOG": str(folder / "catalog.jsonl"),
        "FRESHET_SNAPSHOT_DIR": str(stack_folder(name) / "snapshot"),
        "FRESHET_EXPERIMENTS": os.environ.get("FRESHET_EXPERIMENTS", ""),
        "FRESHET_PLACEMENTS": os.environ.get("FRESHET_PLACEMENTS", str(PLACEMENTS)),
    }


def procfile_environment(name: str, ports: Ports, parts: Iterable[str]) -> dict[str, str]:
    """What only the Procfile's commands read: programs, ports, one thread for numeric libraries."""
    programs = [PROGRAMS[part] for part in parts if part in PROGRAMS]
    return {
        **{variable: str(find(os.environ)) for variable, find in programs},
        **{f"{part.upper()}_PORT": str(port) for part, port in ports.items()},
        "STACK_HOST": HOST,
        "STACK_DIR": str(stack_folder(name)),
        "OPENBLAS_NUM_THREADS": "1",
        "OMP_NUM_THREADS": "1",
        "PYTHONPATH": str(REPO),
        "PYTHONUNBUFFERED": "1",
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', os.defpath)}",
        "no_proxy": FREE_OF_PROXY,
        "NO_PROXY": FREE_OF_PROXY,
    }


def write_env(name: str, env: Mapping[str, str]) -> None:
    """Writes `build/stack/<name>/env.json`; replaced in one step, so that a reader sees all of it
    or none.
    """
    target = make_private(stack_folder(name)) / "env.json"
    draft = target.with_suffix(".draft")
    draft.touch(0o600)
    draft.write_text(json.dumps(dict(env), indent=1, sort_keys=True) + "\n", encoding="utf-8")
    draft.replace(target)


def make_private(folder: Path) -> Path:
    """Make the folder, for this user alone: environment and logs hold keys, the emulators' files
    what visitors did.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    folder.chmod(0o700)  # also where an earlier release has made it
    return folder


def load_env(name: str = DEFAULT) -> dict[str, str]:
    """The environment of the stack of this name, while it is up. Raises NotUp."""
    try:
        values = json.loads((stack_folder(name) / "env.json").read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise NotUp(f"no stack named {name!r} is up: start it with `make up`") from None
    return {str(key): str(value) for key, value in values.items()}
