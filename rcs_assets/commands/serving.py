"""The command that serves Dagster's UI.

Belongs here: which installation, where, and what is said. Does not belong here: the processes
(`ui.py`) and whom they answer (`ui_guard.py`).
"""

from __future__ import annotations

import argparse
import os

from rcs_assets.commands.terminal import DONE, open_home


def ui(options: argparse.Namespace) -> int:
    """Serve the graph in Dagster's UI until Ctrl-C."""
    from rcs_assets.runs import prepare_instance
    from rcs_assets.ui import listen, serve, url

    # Today is asked for each run; only a day that was named stays.
    day = options.as_of or os.environ.get("RCS_AS_OF")
    home = open_home(options)
    prepare_instance(home)
    environment = {name: value for name, value in os.environ.items() if name != "RCS_AS_OF"}
    environment |= {"RCS_AS_OF": day} if day else {}
    with listen(options.host, options.port) as listening:
        print(f"{url(options.host, listening)}  (some 20 seconds; Ctrl-C ends it)", flush=True)
        serve(listening, options.host, home.path, environment)
    return DONE
