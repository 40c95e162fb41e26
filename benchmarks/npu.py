"""The NPU backend: claims against the compilers, the emulator against Arm's model, mutations, networks, times."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Callable, Iterator, Sequence

import numpy as np

from deepseek_backend_npu.devices import DEVICES
from deepseek_backend_npu.hexagon.checking import Verdict as HexagonVerdict
from deepseek_backend_npu.hexagon.checking import check as check_hexagon
from deepseek_backend_npu.hexagon.checking import unsigned
from deepseek_backend_npu.hexagon.variants import VARIANTS
from deepseek_backend_npu.verification.checking import Verdict, check
from deepseek_backend_npu.verification.mutation import KINDS, Judge, Judgement, mutations
from deepseek_backend_npu.verification.networks import residual_network
from deepseek_backend_npu.verification.sampling import OPS, Sample, sample
from deepseek_backend_npu.versions import qnn_problem
from deepseek_core import Target, discover
from deepseek_core.conformance import run
from deepseek_core.pipeline import quantize
from harness import Figure, Options, console, main
from npu_figures import DEVICE, compiled, figures, options_figures, whole
from npu_networks import NETWORKS

TUNED = (DEVICE, "ethos-u65-256")
HEXAGON = "hexagon-v73"
QUICK = ("resnet8", "silero")
SIMULATED = ("resnet8", "mobilenet", "efficientnet96")
_DETAILS: dict[str, object] = {}


def measure(options: Options) -> list[Figure]:
    """Every figure; `--quick` draws fewer units and runs the smallest networks."""
    found = []
    for figure in _figures(quick=options.quick):
        console().print(f"{figure.name}: {figure.value:.4g} {figure.unit} {figure.note}", highlight=False)
        found.append(figure)
    return found


def _figures(*, quick: bool) -> Iterator[Figure]:
    yield _claims(2 if quick else 110)
    yield from _mutations(5 if quick else 60)
    better: dict[str, list[str]] = {device: [] for device in TUNED}
    for key in QUICK if quick else NETWORKS:
        case = NETWORKS[key]()
        model = quantize(case.model, case.calibration, targets=[f"npu:{DEVICE}", "cpu"])
        yield from figures(case, model)
        for device in TUNED:
            shown, is_better = options_figures(case, model, device)
            yield from shown
            better[device] += [case.name] * is_better
        if key in SIMULATED and qnn_problem() is None:
            simulated = quantize(case.model, case.calibration, targets=[f"npu:{HEXAGON}", "cpu"])
            yield from whole(case, simulated, f"npu:{HEXAGON}")
    for device, names in better.items():
        note = f"in cycles or SRAM, and worse in neither; of {len(QUICK if quick else NETWORKS)}: {', '.join(names)}"
        yield Figure(f"networks that the chosen options improve, {device}", len(names), note=note)
    if qnn_problem() is None:
        yield from _hexagon(1 if quick else 24, quick=quick)


def _claims(draws: int) -> Figure:
    """Units drawn for every variant in turn."""
    counts, disagreements = _checked("claims", draws, list(DEVICES), lambda drawn: (drawn,), check)
    note = f"{counts['claimed']} claimed, {counts['refused']} refused, of {len(OPS)} ops on {len(DEVICES)} variants"
    return Figure("units whose claim, compilation or numbers disagree", disagreements, "", "==", 0, note)


def _checked(
    key: str,
    draws: int,
    devices: Sequence[str],
    forms: Callable[[Sample], Sequence[Sample]],
    verdict_on: Callable[[Sample, Target], Verdict | HexagonVerdict],
) -> tuple[Counter[str], int]:
    """Claimed and refused units, and how many verdicts disagree; the details are kept under `key`."""
    counts: Counter[str] = Counter()
    disagreements = []
    for number in range(draws):
        device = devices[number % len(devices)]
        for op in OPS:
            drawn = sample(op, number)
            for unit in () if drawn is None else forms(drawn):
                verdict = verdict_on(unit, Target("npu", device))
                counts["claimed" if verdict.claimed else "refused"] += 1
                if not verdict.agrees:
                    disagreements.append(f"{device} {op}{unit.text}: {verdict}")
    _DETAILS[key] = {"units": dict(counts), "disagreements": disagreements}
    return counts, len(disagreements)


def _mutations(most: int) -> Iterator[Figure]:
    """Of each kind on each variant; one that is proven to be the same program does not count."""
    judged: dict[str, list[tuple[str, Judgement]]] = {kind: [] for kind in KINDS}
    for seed, device in enumerate(DEVICES):
        container = compiled(residual_network(seed), device, every_tensor=True)
        judge, rng = Judge(container), np.random.default_rng(seed)
        for kind, found in judged.items():
            chosen = itertools.islice(mutations(container, kind, rng), most)
            found += [(f"{device}: {mutation.place}", judge.judge(mutation)) for mutation in chosen]
    missed = {kind: [place for place, judgement in found if judgement.missed] for kind, found in judged.items()}
    same = {kind: sum(judgement.equivalent is not None for _, judgement in found) for kind, found in judged.items()}
    _DETAILS["mutations"] = {
        kind: {"made": len(judged[kind]), "proven the same": same[kind], "missed": missed[kind]} for kind in KINDS
    }
    for kind in KINDS:
        made = len(judged[kind]) - same[kind]
        note = f"{made - len(missed[kind])} of {made}; {same[kind]} more are proven to be the same program"
        yield Figure(f"mutations noticed: {kind}", _percent(made - len(missed[kind]), made), "%", note=note)
    count, lost = (sum(map(len, each.values())) for each in (judged, missed))
    count -= sum(same.values())
    yield Figure("mutations noticed", _percent(count - lost, count), "%", ">=", 95.0, f"{count - lost} of {count}")


def _percent(part: int, whole: int) -> float:
    return 100 * part / max(whole, 1)


def _hexagon(draws: int, *, quick: bool) -> Iterator[Figure]:
    """Claims against QNN's placement, on every version in turn, and the conformance kit on one."""
    counts, disagreements = _checked(
        "hexagon_claims", draws, list(VARIANTS), lambda drawn: (drawn, unsigned(drawn)), check_hexagon
    )
    note = f"{counts['claimed']} claimed, {counts['refused']} refused, int8 and uint8, on {len(VARIANTS)} versions"
    yield Figure(
        "Hexagon: units claimed that QNN does not place, or computes otherwise", disagreements, "", "==", 0, note
    )
    backend, target = discover().resolve(f"npu:{HEXAGON}")
    report = run(backend, target, "numerics/*/*/mixed" if quick else "numerics/*/uint8*/*")
    bad = sum(result.status.is_bad for result in report.results)
    yield Figure(
        f"Hexagon: cases of the conformance kit that fail, {HEXAGON}", bad, "", "==", 0, f"of {len(report.results)}"
    )


if __name__ == "__main__":
    main(
        (__doc__ or "").splitlines()[0],
        measure,
        ("ethos-u-vela", "tosa-tools", "onnxruntime-qnn", "numpy"),
        details=lambda: _DETAILS,
    )
