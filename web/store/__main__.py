"""Serves the demo store on loopback: `python -m web.store`."""

from __future__ import annotations

import os

import uvicorn

from web.store.app import create_app
from web.store.config import Config


def main() -> None:
    """Starts the server; a missing setting ends the process with its name."""
    config = Config.from_env(os.environ)
    uvicorn.run(create_app(config), host="127.0.0.1", port=config.port, access_log=False)


if __name__ == "__main__":
    main()
