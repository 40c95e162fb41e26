"""The `.ds` file: a quantized model, and what backends compiled from it."""

from __future__ import annotations

import mmap
from dataclasses import dataclass, field, replace
from hashlib import sha256
from pathlib import Path

from deepseek_core.artifact import Artifact
from deepseek_core.atomic import atomic_write
from deepseek_core.errors import PackageError
from deepseek_core.ir.model import QuantizedModel
from deepseek_core.options import CompileOptions
from deepseek_core.package.archive import Buffer, Member, Writer, damaged, directory, read
from deepseek_core.package.manifest import (
    MODEL,
    ArtifactEntry,
    Contents,
    Manifest,
    MemberEntry,
    artifact_member,
    dump,
    load,
)
from deepseek_core.package.pieces import Finder, Piece, join, literals
from deepseek_core.package.signing import sign, verify_signature
from deepseek_core.package.weights import LOCATION, chunks, externalize, internalize
from deepseek_core.placement import Placement

__all__ = ["Package"]

_MANIFEST, _SIGNATURE = "manifest.json", "signature"


@dataclass(frozen=True, slots=True, eq=False)
class Package:
    """A model with its artifacts, in memory or mapped from a file.

    Attributes:
        model: the quantized (or float) model; its metadata is the provenance. Large constants of an opened
            package are read-only views into the file.
        placement: None for a model that is not compiled yet.
        artifacts: one for each part of the placement, in execution order.
        options: what it was compiled with.
        manifest: versions, member hashes and the state of the signature.
    """

    model: QuantizedModel
    placement: Placement | None = None
    artifacts: tuple[Artifact, ...] = ()
    options: CompileOptions = field(default_factory=CompileOptions)
    manifest: Manifest = field(default_factory=Manifest)

    @property
    def is_compiled(self) -> bool:
        return self.placement is not None

    def save(self, path: str | Path, key: bytes | None = None) -> None:
        """Write the file, atomically. Equal content gives equal bytes.

        Args:
            key: Ed25519 private key in PEM form to sign with.

        Raises:
            StorageError: the file cannot be written.
            PackageError: the metadata is not plain JSON, the key cannot be used, or an artifact is corrupt.
        """
        graph, constants = externalize(self.model.model)
        finder, cuts = Finder(constants if self.artifacts else ()), []
        members: dict[str, MemberEntry] = {}
        with atomic_write(path) as file:
            writer = Writer(file)
            members[MODEL] = MemberEntry(*writer.add(MODEL, [graph]))
            if constants:
                members[LOCATION] = MemberEntry(*writer.add(LOCATION, chunks(constants)))
            for number, artifact in enumerate(self.artifacts):
                artifact.verify()
                cuts.append(finder.cut(artifact.payload))
                name = artifact_member(number)
                members[name] = MemberEntry(*writer.add(name, literals(artifact.payload, cuts[-1])))
            manifest = dump(self._contents(members, cuts))
            writer.add(_MANIFEST, [manifest])
            if key is not None:
                writer.add(_SIGNATURE, [sign(manifest, key)])
            writer.close()

    @classmethod
    def open(cls, path: str | Path, public_key: bytes | None = None) -> Package:
        """Map a file and check every byte of it.

        The file must not be overwritten in place while the package is in use; `save` replaces it as a whole, which
        leaves an open package as it is.

        Args:
            public_key: Ed25519 public key in PEM form; the package must then carry a valid signature.

        Raises:
            PackageError: the file is missing, corrupt, tampered with, of a newer schema, or not signed by the key.
        """
        try:
            with Path(path).open("rb") as file:
                data = memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
        except ValueError:
            raise PackageError(f"'{path}' is empty", fix="copy it again, or compile it again") from None
        except OSError as error:
            raise PackageError(f"cannot open '{path}': {error.strerror}", fix="give the path of a .ds file") from None
        try:
            return cls.read(data, public_key)
        except PackageError as error:
            raise PackageError(f"'{path}': {error.message}", fix=error.fix) from error.__cause__

    @classmethod
    def read(cls, data: Buffer, public_key: bytes | None = None) -> Package:
        """`open` for bytes in memory; constants of the package are views into `data`."""
        view = memoryview(data)
        members = directory(view)
        if _MANIFEST not in members:
            raise damaged("it has no manifest")
        text = read(view, members[_MANIFEST])
        signature = _checked_signature(view, members, text, public_key)
        contents = load(text)
        _check_members(view, members, contents.manifest)
        weights = view[members[LOCATION].data] if LOCATION in members else view[:0]
        model = internalize(bytes(view[members[MODEL].data]), weights)
        return cls(
            QuantizedModel(model, dict(contents.provenance)),
            contents.placement,
            tuple(_artifact(entry, view[members[entry.member].data], weights) for entry in contents.artifacts),
            contents.options,
            replace(contents.manifest, signature=signature),
        )

    def _contents(self, members: dict[str, MemberEntry], cuts: list[tuple[Piece, ...]]) -> Contents:
        entries = tuple(
            ArtifactEntry(a.target, artifact_member(n), pieces, a.sha256, a.format, a.toolchain, a.requires, a.report)
            for n, (a, pieces) in enumerate(zip(self.artifacts, cuts, strict=True))
        )
        manifest = replace(self.manifest, members=members)
        return Contents(manifest, self.placement, entries, self.options, self.model.metadata)


def _artifact(entry: ArtifactEntry, own: memoryview, weights: memoryview) -> Artifact:
    payload = join(entry.pieces, own, weights)
    artifact = Artifact(
        entry.target, payload, entry.format, entry.toolchain, entry.requires, entry.report, entry.sha256
    )
    artifact.verify()
    return artifact


def _checked_signature(data: memoryview, members: dict[str, Member], manifest: bytes, public_key: bytes | None) -> str:
    if _SIGNATURE not in members:
        if public_key is not None:
            raise PackageError("the package is not signed", fix="get a signed one, or open it without a key")
        return "none"
    signature = read(data, members[_SIGNATURE])
    if public_key is None:
        return "unverified"
    verify_signature(signature, manifest, public_key)
    return "verified"


def _check_members(data: memoryview, members: dict[str, Member], manifest: Manifest) -> None:
    """The file holds what the manifest lists, byte for byte, and nothing else."""
    listed = {*manifest.members, _MANIFEST}
    if MODEL not in listed or set(members) - {_SIGNATURE} != listed:
        odd = sorted((set(members) - {_SIGNATURE}) ^ (listed | {MODEL}))
        raise damaged(f"its members are not those of its manifest (see {', '.join(odd)})")
    for name, entry in manifest.members.items():
        if members[name].size != entry.size or sha256(data[members[name].data]).hexdigest() != entry.sha256:
            raise damaged(f"the hash of '{name}' does not match")
