"""Atomic writes: a reader sees the old file or the whole new one, whatever happens in between."""

from __future__ import annotations

import contextlib
import errno
import os
import re
import secrets
import stat
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any, Literal, overload

from deepseek_core.errors import StorageError

__all__ = ["atomic_write", "check_writable"]

_FULL = frozenset((errno.ENOSPC, errno.EDQUOT, errno.EFBIG))
_STALE = 3600.0
"""Seconds after which a temporary file may be what a killed writer left."""


@overload
def atomic_write(
    path: str | os.PathLike[str], mode: Literal["wb"] = "wb"
) -> contextlib.AbstractContextManager[IO[bytes]]: ...
@overload
def atomic_write(path: str | os.PathLike[str], mode: Literal["w"]) -> contextlib.AbstractContextManager[IO[str]]: ...


@contextlib.contextmanager
def atomic_write(path: str | os.PathLike[str], mode: Literal["wb", "w"] = "wb") -> Iterator[IO[Any]]:
    """Open a file for writing that replaces `path` only when the block ends well.

    The data goes to a hidden temporary file in the same folder, is flushed to the disk and renamed. On any
    exception, KeyboardInterrupt included, the temporary file is removed and the old file is intact; a killed
    process can leave a `.<name>.<random>.tmp` behind, never a damaged `path`, and a later write of `path` removes
    it. A symbolic link is followed and the permissions of an existing file are kept.

    Args:
        path: file to create or replace; its folder must exist.
        mode: `wb` for bytes or `w` for UTF-8 text.

    Raises:
        StorageError: the disk is full, or the folder is missing or not writable.
    """
    final = Path(os.path.realpath(path))
    _sweep(final)
    temporary = final.with_name(f"{_prefix(final)}{secrets.token_hex(8)}.tmp")
    try:
        with _open(temporary, final, mode) as file:
            yield file
            file.flush()
            os.utime(temporary)  # not stale between losing the lock and the rename
            os.fsync(file.fileno())
        temporary.replace(final)
        _sync_folder(final.parent)
    except BaseException as error:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
        if isinstance(error, OSError) and (error.errno in _FULL or error.filename in (temporary, str(temporary))):
            raise _explained(error, final) from error
        raise


class _AbandonedError(Exception):
    """Leaves `atomic_write` without writing."""


def check_writable(path: str | os.PathLike[str]) -> None:
    """Find out before long work whether its result can be written; `path` is not touched.

    Raises:
        StorageError: `atomic_write` would fail.
    """
    with contextlib.suppress(_AbandonedError), atomic_write(path):
        raise _AbandonedError


def _open(temporary: Path, final: Path, mode: Literal["wb", "w"]) -> IO[Any]:
    """Create the temporary file with the permissions the final one has, or would get from the umask."""
    if final.exists() and not final.is_file():
        raise StorageError(f"cannot write '{final}': it is a folder or device", fix="name a regular file")
    file = temporary.open("xb" if mode == "wb" else "x", encoding=None if mode == "wb" else "utf-8")
    _lock(file.fileno())
    with contextlib.suppress(OSError):
        temporary.chmod(stat.S_IMODE(final.stat().st_mode))
    return file


def _prefix(final: Path) -> str:
    return f".{final.name[:64]}."


def _lock(descriptor: int) -> bool:
    """Mark a temporary file as one that is being written; the system drops the mark however the process ends."""
    if sys.platform == "win32":
        return False
    import fcntl

    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:  # another process has it, or the file system has no locks
        return False
    return True


def _sweep(final: Path) -> None:
    """Remove what killed writers of `final` left behind: old temporary files that nobody has locked."""
    if sys.platform == "win32":
        return
    name = re.compile(re.escape(_prefix(final)) + r"[0-9a-f]{16}\.tmp")
    with contextlib.suppress(OSError):
        for path in final.parent.iterdir():
            if name.fullmatch(path.name):
                with contextlib.suppress(OSError):
                    _remove_stale(path)


def _remove_stale(temporary: Path) -> None:
    descriptor = os.open(temporary, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    try:
        found = os.fstat(descriptor)
        if stat.S_ISREG(found.st_mode) and time.time() - found.st_mtime > _STALE and _lock(descriptor):
            temporary.unlink()
    finally:
        os.close(descriptor)


def _sync_folder(folder: Path) -> None:
    """Make the rename durable; some systems cannot open or flush a folder, and then rename is all there is."""
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _explained(error: OSError, final: Path) -> StorageError:
    if error.errno in _FULL:
        fix = f"free space on the disk that holds '{final.parent}', or write elsewhere; nothing was changed"
    elif isinstance(error, FileNotFoundError):
        fix = f"create the folder '{final.parent}'"
    else:
        fix = f"make the folder '{final.parent}' writable, or write elsewhere"
    return StorageError(f"cannot write '{final}': {error.strerror}", fix=fix)
