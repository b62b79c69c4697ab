"""Files written whole or not at all."""

from __future__ import annotations

import os
import secrets
import stat
from contextlib import suppress

from qcmap.errors import ArgumentError, QCMapError


def write_whole(
    path: str | os.PathLike[str], data: bytes | memoryview, *, error: type[QCMapError] = ArgumentError
) -> None:
    """Write a file whole or not at all: to a new file beside it, which then takes its name.

    A link stays a link (what it leads to is replaced), and a file that was there keeps its permissions.

    Raises
    ------
    QCMapError
        Of the type ``error``, naming the file, if it cannot be written; what was there before is untouched.
    """
    file = os.fspath(path)
    try:
        target = os.path.realpath(file)
        temporary = os.path.join(os.path.dirname(target), f".qcmap-{secrets.token_hex(8)}.tmp")
        try:
            with open(temporary, "xb") as stream:
                stream.write(data)
                stream.flush()
                os.fsync(stream.fileno())
            with suppress(FileNotFoundError):
                os.chmod(temporary, stat.S_IMODE(os.stat(target).st_mode))
            os.replace(temporary, target)
        except BaseException:
            with suppress(OSError):
                os.unlink(temporary)
            raise
    except (OSError, ValueError) as cause:
        reason = getattr(cause, "strerror", None) or str(cause)
        raise error(file, f"it cannot be written ({reason})", "give a path in a folder you may write") from cause
