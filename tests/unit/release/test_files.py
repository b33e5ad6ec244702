"""What is said when the disk fails under a release."""

import errno
import os

import pytest

from rcs_assets.errors import StorageError
from rcs_assets.release.files import disk_failures_named


@pytest.mark.parametrize(
    ("number", "what", "fix"),
    [
        (errno.ENOSPC, "The disk is full", "make room"),
        (errno.EDQUOT, "The quota of the disk is used up", "make room, or have the quota raised"),
        (errno.EFBIG, "A file may not become so large", "raise the limit"),
        (errno.EACCES, "A file or folder may not be used", "let the account"),
        (errno.EPERM, "A file or folder may not be used", "let the account"),
        (errno.EROFS, "The disk is read-only", "mount it for writing"),
        (errno.EIO, "The disk fails", "look at its health"),
        (errno.ENOENT, "The disk cannot be used", "see what stands there"),
    ],
)
def test_each_failure_of_the_disk_has_its_own_fix(tmp_path, number, what, fix):
    with pytest.raises(StorageError) as told, disk_failures_named(tmp_path):
        raise OSError(number, "in words of the machine", str(tmp_path / "a"))
    assert told.value.what == what
    assert told.value.where == str(tmp_path / "a")
    assert os.strerror(number) in told.value.why
    assert told.value.fix.startswith(fix)
    assert told.value.fix.endswith("run the command again")
    is_full = number in (errno.ENOSPC, errno.EDQUOT)
    assert ("make room" in told.value.fix) == is_full


def test_a_failure_without_a_file_names_the_place(tmp_path):
    with pytest.raises(StorageError) as told, disk_failures_named(tmp_path):
        raise OSError(errno.ENOSPC, "no room")
    assert told.value.where == str(tmp_path)
