"""Where `rcs` begins: Ctrl-C ends it in one line at any moment.

Belongs here: what must hold before the command line is imported, which takes seconds. Does not
belong here: commands and their arguments (`cli.py`).
"""

from __future__ import annotations

import sys

from rcs_assets.owner_only import write_for_owner_only
from rcs_assets.stopping import signals_noted, was_stopped

STOPPED = "rcs: stopped; what was published before is untouched."
# As of any command that did not do what it was asked to.
_STATUS = 1


def main() -> int:
    """Run one command and return its exit status."""
    write_for_owner_only()
    with signals_noted():
        try:
            from rcs_assets.cli import main as run

            return run()
        except KeyboardInterrupt:
            pass
        except Exception:
            if not was_stopped():
                raise
    print(STOPPED, file=sys.stderr)
    return _STATUS
