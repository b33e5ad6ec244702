"""Dagster's web server behind the guard: a process of its own (`python -m rcs_assets.ui_server`).

Belongs here: making Dagster's application for one workspace and serving it on a socket that is
handed down. Does not belong here: what the guard refuses (`ui_guard.py`), the processes beside this
one (`ui.py`).

`dagster-webserver` takes no middleware, so what its command does is done here. That needs Dagster's
own workspace classes, which it calls internal: they stand in this file alone, and tests start it.
"""

from __future__ import annotations

import argparse
import os
import signal
import socket
import sys
import threading

import dagster as dg
import uvicorn
from dagster._core.workspace.context import WorkspaceProcessContext
from dagster._core.workspace.load_target import WorkspaceFileTarget
from dagster_webserver.app import create_app_from_workspace_process_context
from dagster_webserver.cli import (
    DEFAULT_DB_STATEMENT_TIMEOUT,
    DEFAULT_POOL_MAX_OVERFLOW,
    DEFAULT_POOL_RECYCLE,
)
from dagster_webserver.version import __version__

from rcs_assets.owner_only import write_for_owner_only
from rcs_assets.ui_guard import Guard, answered_hosts

# As `dagster dev` has it.
_POLL_MILLISECONDS = 2000
# An open page holds a websocket; it is not waited for.
_GOODBYE_SECONDS = 3


def main() -> None:
    """Serve until a signal comes, or until the process that started this one is gone."""
    parser = argparse.ArgumentParser(prog="rcs_assets.ui_server")
    parser.add_argument("--workspace", required=True, help="file that names the code location")
    parser.add_argument("--host", required=True, help="what the socket listens on")
    parser.add_argument("--socket", type=int, required=True, help="file descriptor, listening")
    options = parser.parse_args()
    write_for_owner_only()
    threading.Thread(target=_end_with_parent, daemon=True).start()
    with socket.socket(fileno=options.socket) as listening:
        _serve(options.workspace, listening, options.host)


def _serve(workspace: str, listening: socket.socket, host: str) -> None:
    with dg.DagsterInstance.get() as instance:
        instance.optimize_for_webserver(
            DEFAULT_DB_STATEMENT_TIMEOUT, DEFAULT_POOL_RECYCLE, DEFAULT_POOL_MAX_OVERFLOW
        )
        target = WorkspaceFileTarget([workspace])
        with WorkspaceProcessContext(instance, target, version=__version__) as process:
            app = create_app_from_workspace_process_context(
                process, live_data_poll_rate=_POLL_MILLISECONDS
            )
            hosts = answered_hosts(host, listening.getsockname()[1])
            config = uvicorn.Config(
                Guard(app, hosts),
                log_level="warning",
                # Nothing stands in front that could tell another client's address.
                proxy_headers=False,
                timeout_graceful_shutdown=_GOODBYE_SECONDS,
            )
            uvicorn.Server(config).run(sockets=[listening])


def _end_with_parent() -> None:
    """Nothing is written to stdin: it ends when `rcs ui` does, even if that was killed."""
    sys.stdin.buffer.read()
    os.killpg(os.getpgrp(), signal.SIGTERM)


if __name__ == "__main__":
    main()
