"""Atomic writes: a reader sees the old file or the whole new one, whatever happens in between."""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any, Literal, overload

from deepseek_core.errors import StorageError

__all__ = ["atomic_write", "check_writable"]

_FULL = frozenset((errno.ENOSPC, errno.EDQUOT, errno.EFBIG))


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
    process can leave a `.<name>.<random>.tmp` behind, never a damaged `path`. A symbolic link is followed and
    the permissions of an existing file are kept.

    Args:
        path: file to create or replace; its folder must exist.
        mode: `wb` for bytes or `w` for UTF-8 text.

    Raises:
        StorageError: the disk is full, or the folder is missing or not writable.
    """
    final = Path(os.path.realpath(path))
    temporary = final.with_name(f".{final.name[:64]}.{secrets.token_hex(8)}.tmp")
    try:
        with _open(temporary, final, mode) as file:
            yield file
            file.flush()
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
    with contextlib.suppress(OSError):
        temporary.chmod(stat.S_IMODE(final.stat().st_mode))
    return file


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
