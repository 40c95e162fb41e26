"""The runtime with functions of another compiler in it: linked when a program is opened, for that program alone."""

from __future__ import annotations

import tempfile
from pathlib import Path

from deepseek_backend_arm.build import SHARED, runtime_folder
from deepseek_backend_arm.container import Container
from deepseek_backend_arm.native import Library
from deepseek_backend_arm.plan.linked import Linked
from deepseek_backend_arm.server import Server
from deepseek_backend_arm.sources import FLAGS, LIBRARY
from deepseek_backend_arm.toolchain import find_toolchain
from deepseek_core.errors import BackendError

__all__ = ["LinkedServer", "linked_library", "write_linked"]


class LinkedServer(Server):
    """A server that has the functions of one program, and ends with it.

    Args:
        emulator: command that runs ARM64 programs.
    """

    def __init__(self, emulator: tuple[str, ...], linked: Linked) -> None:
        self._folder = tempfile.TemporaryDirectory()
        folder = Path(self._folder.name)
        super().__init__((*emulator, str(folder / "serve")))
        try:
            own = [str(runtime_folder() / "serve.o"), *write_linked(linked, folder), str(runtime_folder() / "libds.a")]
            find_toolchain().run(["-static", "-s", "-o", "serve", *own, "-lm", "-lpthread"], folder)
        except BaseException:
            self._end()
            raise

    def load(self, container: Container) -> int:
        """Load the program; a runtime that refuses it ends."""
        try:
            return super().load(container)
        except BackendError:
            self._end()
            raise

    def free(self, slot: int) -> None:
        """Forget the program, and end."""
        try:
            super().free(slot)
        finally:
            self._end()

    def _end(self) -> None:
        self.close()
        self._folder.cleanup()


def linked_library(linked: Linked) -> Library:
    """The runtime as a shared library of this process, with the functions."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        own = [str(runtime_folder() / f"{part}.pic.o") for part in LIBRARY if part != "linked"]
        words = ["-shared", "-s", "-o", SHARED, *own, *write_linked(linked, folder), "-lm", "-lpthread"]
        find_toolchain().run(words, folder)
        return Library(folder / SHARED)


def write_linked(linked: Linked, folder: Path) -> list[str]:
    """Put the objects into a folder, with the compiled table of their functions; gives their names."""
    names = ["linked.o"]
    for number, data in enumerate(linked.objects):
        names.append(f"unit{number}.o")
        (folder / names[-1]).write_bytes(data)
    (folder / "linked.c").write_text(linked.source(), encoding="utf-8")
    toolchain = find_toolchain()
    toolchain.run([*FLAGS, *toolchain.flags, "-fPIC", f"-I{runtime_folder()}", "-c", "linked.c"], folder)
    return names
