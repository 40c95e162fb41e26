"""`manifest.json`: what is in a package, what it was built with, and the hash of every member.

Schema 1. A newer schema is refused by number; a missing, unknown or ill-typed field is damage.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field

from deepseek_core import __version__
from deepseek_core.cost import Basis, Cost
from deepseek_core.errors import DeepseekError, PackageError
from deepseek_core.hookspecs import HOOK_API
from deepseek_core.options import CompileOptions
from deepseek_core.package.archive import damaged
from deepseek_core.package.pieces import EXPANSION, Piece, problem
from deepseek_core.package.strict import Json, MalformedError
from deepseek_core.package.weights import LOCATION
from deepseek_core.placement import Optimality, Placement, Refusal
from deepseek_core.target import Target

__all__ = ["MODEL", "SCHEMA", "ArtifactEntry", "Contents", "Manifest", "MemberEntry", "artifact_member", "dump", "load"]

SCHEMA = 1
MODEL = "model.onnx"
_SHA256 = "[0-9a-f]{64}"


@dataclass(frozen=True, slots=True)
class MemberEntry:
    """Size in bytes and SHA-256 (hex) of a member's data."""

    size: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Manifest:
    """What wrote a package, and what is in the file.

    Attributes:
        core: version of deepseek-core that built it.
        hook_api: (major, minor) of the hook API that its backends were built against.
        members: every member but the manifest and the signature; empty for a package that is not saved yet.
        signature: `none`, `unverified` (there is one, and no key was given) or `verified`.
        schema: of the manifest.
    """

    core: str = __version__
    hook_api: tuple[int, int] = HOOK_API
    members: Mapping[str, MemberEntry] = field(default_factory=dict)
    signature: str = "none"
    schema: int = SCHEMA


@dataclass(frozen=True, slots=True)
class ArtifactEntry:
    """An artifact without its bytes.

    Attributes:
        member: has the bytes that are nowhere else in the package.
        pieces: how these and ranges of `model.weights` make up the payload.
        sha256: of the whole payload, hex.
    """

    target: Target
    member: str
    pieces: tuple[Piece, ...]
    sha256: str
    format: str
    toolchain: Mapping[str, str]
    requires: tuple[str, ...]
    report: Mapping[str, object]


@dataclass(frozen=True, slots=True)
class Contents:
    """Everything a manifest says."""

    manifest: Manifest
    placement: Placement | None
    artifacts: tuple[ArtifactEntry, ...]
    options: CompileOptions
    provenance: Mapping[str, object]


def artifact_member(number: int) -> str:
    """Name of the member of artifact `number`."""
    return f"artifacts/{number}.bin"


def dump(contents: Contents) -> bytes:
    """The one byte form of a manifest.

    Raises:
        PackageError: the provenance or an artifact's report is not plain JSON.
    """
    manifest, options = contents.manifest, contents.options
    document = {
        "schema": manifest.schema,
        "core": manifest.core,
        "hook_api": list(manifest.hook_api),
        "members": {name: {"size": m.size, "sha256": m.sha256} for name, m in manifest.members.items()},
        "placement": None if contents.placement is None else _placement_json(contents.placement),
        "artifacts": [_artifact_json(entry) for entry in contents.artifacts],
        "options": {
            "optimize": options.optimize,
            "threads": options.threads,
            "taps": list(options.taps),
            "extra": dict(options.extra),
        },
        "provenance": dict(contents.provenance),
    }
    try:
        return json.dumps(document, sort_keys=True, indent=1, allow_nan=False).encode("ascii") + b"\n"
    except (TypeError, ValueError) as error:
        raise PackageError(
            f"metadata of the model or a backend's report is not plain JSON ({error})",
            fix="use strings, finite numbers, lists and objects only",
        ) from None


def load(text: bytes) -> Contents:
    """Read a manifest.

    Raises:
        PackageError: it is of a newer schema, or not exactly what `dump` writes.
    """
    try:
        document = Json.parse(text)
        _refuse_newer(document)
        return _contents(document)
    except (MalformedError, DeepseekError, ValueError) as error:
        if isinstance(error, PackageError):
            raise
        raise damaged(f"its manifest is wrong: {error}") from None


def _refuse_newer(document: Json) -> None:
    entries = document.entries()
    if "schema" not in entries:
        raise MalformedError("it has no schema number")
    schema = entries["schema"].integer()
    if schema > SCHEMA:
        raise PackageError(
            f"the package has manifest schema {schema}, and this core reads up to {SCHEMA}", fix="upgrade deepseek-core"
        )
    if schema != SCHEMA:
        raise MalformedError(f"there is no schema {schema}")


def _contents(document: Json) -> Contents:
    _, core, hook_api, members, placement, artifacts, options, provenance = document.fields(
        "schema", "core", "hook_api", "members", "placement", "artifacts", "options", "provenance"
    )
    major_minor = [number.integer() for number in hook_api.items()]
    if len(major_minor) != 2:
        raise MalformedError("'hook_api' must be two numbers")
    contents = Contents(
        Manifest(core.text(), (major_minor[0], major_minor[1]), _members(members)),
        None if placement.is_null else _placement(placement),
        tuple(map(_artifact, artifacts.items())),
        _options(options),
        provenance.plain_object(),
    )
    _check_consistent(contents)
    return contents


def _check_consistent(contents: Contents) -> None:
    placement = contents.placement
    parts = () if placement is None else placement.parts
    if len(contents.artifacts) != len(parts):
        raise MalformedError("it must have one artifact for each part")
    for names, entry in zip(parts, contents.artifacts, strict=True):
        if placement is None or not names or any(placement.units.get(name) != entry.target for name in names):
            raise MalformedError("an artifact's target is not that of its part")
    _check_members(contents)


def _check_members(contents: Contents) -> None:
    members = contents.manifest.members
    weights = members[LOCATION].size if LOCATION in members else 0
    for number, entry in enumerate(contents.artifacts):
        if entry.member != artifact_member(number):
            raise MalformedError(f"artifact {number} must be in '{artifact_member(number)}'")
        if entry.member not in members:
            raise MalformedError(f"the member '{entry.member}' is not listed")
        wrong = problem(entry.pieces, members[entry.member].size, weights)
        if wrong is not None:
            raise MalformedError(f"artifact {number} {wrong}")
    odd = sorted(set(members) - {MODEL, LOCATION, *(entry.member for entry in contents.artifacts)})
    if odd:
        raise MalformedError(f"there is no place for a member '{odd[0]}'")
    repeated = sum(p.length for entry in contents.artifacts for p in entry.pieces if p.offset is not None)
    if repeated > EXPANSION * weights:
        raise MalformedError(f"its artifacts repeat the weights more than {EXPANSION} times")


def _members(data: Json) -> dict[str, MemberEntry]:
    found = {}
    for name, entry in data.entries().items():
        size, sha256 = entry.fields("size", "sha256")
        found[name] = MemberEntry(size.integer(), sha256.text(_SHA256))
    return found


def _options(data: Json) -> CompileOptions:
    optimize, threads, taps, extra = data.fields("optimize", "threads", "taps", "extra")
    return CompileOptions(optimize.integer(), threads.integer(), taps.texts(), _texts_by_key(extra))


def _texts_by_key(data: Json) -> dict[str, str]:
    return {key: value.text() for key, value in data.entries().items()}


def _artifact_json(entry: ArtifactEntry) -> dict[str, object]:
    return {
        "target": str(entry.target),
        "member": entry.member,
        "pieces": [[piece.offset, piece.length] for piece in entry.pieces],
        "sha256": entry.sha256,
        "format": entry.format,
        "toolchain": dict(entry.toolchain),
        "requires": list(entry.requires),
        "report": dict(entry.report),
    }


def _artifact(data: Json) -> ArtifactEntry:
    target, member, pieces, sha256, kind, toolchain, requires, report = data.fields(
        "target", "member", "pieces", "sha256", "format", "toolchain", "requires", "report"
    )
    return ArtifactEntry(
        Target.parse(target.text()),
        member.text(),
        tuple(map(_piece, pieces.items())),
        sha256.text(_SHA256),
        kind.text(),
        _texts_by_key(toolchain),
        requires.texts(),
        report.plain_object(),
    )


def _piece(data: Json) -> Piece:
    pair = data.items()
    if len(pair) != 2:
        raise MalformedError("a piece must be an offset, or null, and a length")
    offset, length = pair
    return Piece(length.integer(), None if offset.is_null else offset.integer())


def _placement_json(placement: Placement) -> dict[str, object]:
    cost = placement.cost
    return {
        "units": [[name, str(target)] for name, target in placement.units.items()],
        "parts": [list(names) for names in placement.parts],
        "refusals": [[str(r.target), r.unit, r.reason, *([r.change] if r.change else [])] for r in placement.refusals],
        "cost": {
            "seconds": cost.seconds,
            "bytes": cost.bytes,
            "bases": {str(basis): seconds for basis, seconds in cost.bases.items()},
            "joules": cost.joules,
        },
        "gap": placement.gap,
        **({} if placement.optimality is None else {"optimality": asdict(placement.optimality)}),
    }


def _placement(data: Json) -> Placement:
    optional = ("optimality",) if "optimality" in data.entries() else ()
    units, parts, refusals, cost, gap, *proof = data.fields("units", "parts", "refusals", "cost", "gap", *optional)
    placed = [pair.texts() for pair in units.items()]
    refused = [triple.texts() for triple in refusals.items()]
    if any(len(pair) != 2 for pair in placed) or any(len(entry) not in (3, 4) for entry in refused):
        raise MalformedError("'placement' has an entry of a wrong length")
    parsed = {text: Target.parse(text) for text in {*(p[1] for p in placed), *(r[0] for r in refused)}}
    return Placement(
        {name: parsed[target] for name, target in placed},
        tuple(names.texts() for names in parts.items()),
        tuple(Refusal(parsed[target], *texts) for target, *texts in refused),
        _cost(cost),
        None if gap.is_null else gap.number(),
        _optimality(proof[0]) if proof else None,
    )


def _optimality(data: Json) -> Optimality:
    objective, value, bound, method, proof = data.fields("objective", "value", "bound", "method", "proof")
    return Optimality(objective.text(), value.number(), bound.number(), method.text(), proof.text())


def _cost(data: Json) -> Cost:
    seconds, traffic, bases, joules = data.fields("seconds", "bytes", "bases", "joules")
    shares = {Basis(name): share.number() for name, share in bases.entries().items()}
    return Cost(seconds.number(), traffic.integer(), shares, None if joules.is_null else joules.number())
