"""Copy the files of the example backend into the tutorial's code blocks.

A block that begins with ```language title="path" shows that file of the package. `tests/test_docs.py` fails when the
two differ; this script mends it.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "tutorial_backend.md"
PACKAGE = ROOT / "examples" / "deepseek_backend_echo"
_BLOCK = re.compile(r'^(?P<fence>`{3,})(?P<head>\w+ title="(?P<path>[^"]+)")\n.*?^(?P=fence)$', re.M | re.S)


def synced(page: str) -> str:
    """The page with every titled block holding its file."""

    def block(match: re.Match[str]) -> str:
        text = (PACKAGE / match["path"]).read_text(encoding="utf-8")
        return f"{match['fence']}{match['head']}\n{text}{match['fence']}"

    return _BLOCK.sub(block, page)


def main() -> int:
    """Rewrite the page where it differs."""
    before = PAGE.read_text(encoding="utf-8")
    after = synced(before)
    if after != before:
        PAGE.write_text(after, encoding="utf-8")
        print(f"updated {PAGE.relative_to(ROOT)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
