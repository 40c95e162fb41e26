"""The ROCm backend's emulator: how much it notices of machine code with one thing wrong.

python benchmarks/rocm_mutations.py --json results/rocm_mutations.json [--mutations N]
"""

from __future__ import annotations

import argparse
import itertools
from collections import Counter
from collections.abc import Iterator, Sequence

import numpy as np

from deepseek_backend_rocm.verification.checking import compiled
from deepseek_backend_rocm.verification.mutation import KINDS, Judge, Judgement, mutations
from deepseek_backend_rocm.verification.sampling import KINDS as UNITS
from deepseek_backend_rocm.verification.sampling import sample
from harness import Figure, Options, main

ARCHITECTURES = ("gfx942", "gfx90a", "gfx1100")
_DETAILS: dict[str, object] = {}


def measure(options: Options) -> list[Figure]:
    """Every figure; `--quick` makes one mutation of each kind in each unit of one architecture."""
    architectures, most = (ARCHITECTURES[:1], 1) if options.quick else (ARCHITECTURES, options.extra.mutations)
    return list(_mutations(architectures, most))


def _mutations(architectures: Sequence[str], most: int) -> Iterator[Figure]:
    """Of each kind in each unit; one that is shown to be the same program does not count."""
    judged: dict[str, list[tuple[str, Judgement]]] = {kind: [] for kind in KINDS}
    for number, (architecture, unit) in enumerate(itertools.product(architectures, UNITS)):
        drawn = sample(unit, number)
        image = compiled(drawn, architecture)
        judge, rng = Judge(image, architecture, drawn.feeds), np.random.default_rng(number)
        executed = judge.executed()
        print(f"{architecture}: {unit}{drawn.text}", flush=True)
        for kind, found in judged.items():
            for mutation in itertools.islice(mutations(image, kind, executed, rng), most):
                text = f"{architecture} {unit}: {mutation.before} -> {mutation.after}"
                found.append((text, judge.judge(mutation)))
    yield from _noticed(judged)


def _noticed(judged: dict[str, list[tuple[str, Judgement]]]) -> Iterator[Figure]:
    missed = {kind: [text for text, judgement in found if judgement.missed] for kind, found in judged.items()}
    same = {kind: [j.equivalent for _, j in found if j.equivalent is not None] for kind, found in judged.items()}
    for kind, found in judged.items():
        faults = sum(j.how not in (None, "results") for _, j in found)
        _DETAILS[f"mutations: {kind}"] = {"made": len(found), "same": dict(Counter(same[kind])), "missed": missed[kind]}
        made = len(found) - len(same[kind])
        note = f"{made - len(missed[kind])} of {made}, {faults} by a fault; {len(same[kind])} more are the same program"
        yield Figure(f"mutations noticed: {kind}", _percent(made - len(missed[kind]), made), "%", note=note)
    count = sum(len(found) - len(same[kind]) for kind, found in judged.items())
    lost = sum(map(len, missed.values()))
    yield Figure("mutations noticed", _percent(count - lost, count), "%", ">=", 95.0, f"{count - lost} of {count}")


def _percent(part: int, whole: int) -> float:
    return 100 * part / max(whole, 1)


def _options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--mutations", type=int, default=4, metavar="N", help="of each kind in each unit")


if __name__ == "__main__":
    main(__doc__.partition("\n")[0], measure, ("deepseek-backend-rocm", "numpy", "triton"), _options, lambda: _DETAILS)
