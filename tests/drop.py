"""Plain copies of what lies sealed in a home's drop, for tests that edit deliveries.

Belongs here: reading the drop the way intake does. Does not belong here: changing files.
"""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

from rcs_assets.intake.drop import current_deliveries, opened, read_register
from rcs_assets.storage import Home


def plain_copy(home: Path, dataset: str, engagement: str | None) -> Path:
    """A plain copy, beside the home, of the delivery of a dataset that holds."""
    installation = Home.open(home)
    delivery = current_deliveries(installation)[dataset, engagement]
    folder = Path(tempfile.mkdtemp(prefix="plain-", dir=home.parent))
    with opened(installation, delivery) as path:
        shutil.copyfile(path, folder / delivery.file)
    return folder / delivery.file


def plain_copies(home: Path) -> list[Path]:
    """A plain copy of every delivery that was registered, in order of receipt."""
    lines = [line for line in read_register(Home.open(home)) if not line.refused]
    return [plain_copy(home, line.dataset, line.engagement) for line in lines]
