"""Room on the disk, found out before hours are spent."""

from __future__ import annotations

import errno
import os
import shutil
import tempfile
from pathlib import Path

from daseCV_c.cli.errors import CommandError, reason

_CANNOT_TELL = (errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL)


def see(folder: Path, needed: int) -> None:
    """CommandError unless a file of `needed` bytes can be made in `folder`; none is left there."""
    try:
        with tempfile.TemporaryFile(dir=folder) as file:
            if hasattr(os, "posix_fallocate"):
                # It knows of quotas and limits, which the number of free bytes does not.
                try:
                    os.posix_fallocate(file.fileno(), 0, max(needed, 1))
                    return
                except OSError as error:
                    if error.errno not in _CANNOT_TELL:
                        raise
            file.write(b"x")
            file.flush()
            free = shutil.disk_usage(folder).free
            if free < needed:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EFBIG, getattr(errno, "EDQUOT", errno.ENOSPC)):
            raise CommandError(f"{folder} needs room for {amount(needed)}: {reason(error)}") from error
        raise CommandError(f"{folder} cannot be written: {reason(error)}") from error


def amount(size: int) -> str:
    return f"{size / 1e9:.1f} GB" if size >= 1e9 else f"{max(size, 1e5) / 1e6:.1f} MB"
