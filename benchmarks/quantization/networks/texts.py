"""English text and human similarity ratings from the test data of gensim's source distribution.

Lee, Pincombe and Welsh (2005): 50 news summaries, all pairs rated, and 300 other ones as background. Finkelstein et al.
(2002): WordSim353, 353 rated pairs of words.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from quantization.sources import sdist

__all__ = ["background", "encyclopedia", "lee", "reviews", "wordsim353"]


def lee() -> tuple[list[str], NDArray[np.float64]]:
    """50 documents, and their mean ratings [50, 50] of which the part above the diagonal counts."""
    return _lines("lee.cor", "latin-1"), np.loadtxt(_data() / "similarities0-1.txt")


def background() -> list[str]:
    """300 news texts by the same broadcaster, none of them among `lee`."""
    return _lines("lee_background.cor")


def reviews() -> list[str]:
    """200 sentences of film reviews."""
    return [line.split(" ", 1)[1] for line in _lines("pang_lee_polarity.cor", "cp1252")]


def encyclopedia() -> list[str]:
    """13 sections of two encyclopedia articles."""
    return [*_lines("para2para_text1.txt"), *_lines("para2para_text2.txt")]


def wordsim353() -> list[tuple[str, str, float]]:
    """353 pairs of words and their mean rating."""
    rows = [line.split("\t") for line in _lines("wordsim353.tsv") if not line.startswith("#")]
    return [(first, second, float(rating)) for first, second, rating in rows]


def _data() -> Path:
    return sdist("gensim", "4.4.0") / "gensim-4.4.0" / "gensim" / "test" / "test_data"


def _lines(name: str, encoding: str = "utf-8") -> list[str]:
    return [line.strip() for line in (_data() / name).read_text(encoding).splitlines() if line.strip()]
