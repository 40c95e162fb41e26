"""Options that several commands share, and how their values are written."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from deepseek_core.data import Samples
    from deepseek_core.ir import TensorInfo

__all__ = [
    "FILE",
    "assignment",
    "feeds_of",
    "inputs_option",
    "key_bytes",
    "public_key_option",
    "samples_of",
    "samples_options",
]

FILE = click.Path(path_type=Path)
"""A path. Whether it can be read or written is told by what reads or writes it."""

_Command = Callable[..., Any]


def assignment(ctx: click.Context, param: click.Parameter, values: tuple[str, ...]) -> dict[str, str]:
    """`KEY=VALUE`, several times, as a mapping."""
    found = {}
    for text in values:
        key, equals, value = text.partition("=")
        if not (key and equals and value):
            raise click.BadParameter(f"'{text}' is not KEY=VALUE", ctx, param)
        found[key] = value
    return found


def _numbers(ctx: click.Context, param: click.Parameter, text: str | None) -> tuple[float, ...] | None:
    """`127` or `123.7,116.3,103.5` as numbers."""
    if text is None:
        return None
    try:
        return tuple(float(part) for part in text.split(","))
    except ValueError:
        raise click.BadParameter(f"'{text}' is not a number, or numbers between commas", ctx, param) from None


_SAMPLES_OPTIONS = (
    click.option("--limit", type=int, metavar="N", help="Use at most N files, spread evenly.  [default: all]"),
    click.option("--mean", callback=_numbers, metavar="M[,M,M]", help="Images: subtracted from pixels 0…255."),
    click.option("--std", callback=_numbers, metavar="S[,S,S]", help="Images: divides afterwards."),
    click.option("--size", type=int, metavar="PX", help="Images: side of the centre crop.  [default: the model's]"),
    click.option("--resize", type=int, metavar="PX", help="Images: short side before.  [default: size / 0.875]"),
    click.option("--layout", type=click.Choice(["NCHW", "NHWC"]), help="Images: axes the model leaves open."),
)


def samples_options(function: _Command) -> _Command:
    """`--limit`, and how images become tensors; `samples_of` takes them."""
    for option in reversed(_SAMPLES_OPTIONS):
        function = option(function)
    return function


def samples_of(source: Path, infos: tuple[TensorInfo, ...], chosen: dict[str, Any]) -> Samples:
    """Samples of a folder or file, as the samples' options say."""
    from deepseek_core.data import ImageOptions, Samples

    images = ImageOptions(*(chosen[name] for name in ("mean", "std", "size", "resize", "layout")))
    return Samples(source, infos, images, limit=chosen["limit"])


def inputs_option(function: _Command) -> _Command:
    """`--input`: what the model is fed."""
    return click.option(
        "--input",
        "inputs",
        multiple=True,
        metavar="[NAME=]FILE",
        callback=_named_files,
        help="A .npy for one input, or a .npz whose keys are input names; give it as often as needed.",
    )(function)


def public_key_option(function: _Command) -> _Command:
    """`--public-key`: accept only what its owner signed."""
    return click.option(
        "--public-key", type=FILE, metavar="PEM", help="Refuse a package that this Ed25519 key did not sign."
    )(function)


def key_bytes(path: Path | None) -> bytes | None:
    """Content of a key file."""
    return None if path is None else path.read_bytes()


def feeds_of(files: list[tuple[str | None, Path]], infos: tuple[TensorInfo, ...], seed: int) -> dict[str, NDArray[Any]]:
    """Feeds from files, or made-up ones where no file is given."""
    from deepseek_core.data import random_feeds, read_feeds

    return read_feeds(files, infos) if files else random_feeds(infos, seed)


def _named_files(ctx: click.Context, param: click.Parameter, values: tuple[str, ...]) -> list[tuple[str | None, Path]]:
    found: list[tuple[str | None, Path]] = []
    for text in values:
        name, equals, path = text.partition("=")
        named = bool(equals) and not Path(text).exists()
        found.append((name, Path(path)) if named else (None, Path(text)))
    return found
