"""The graph as SVG: nodes coloured by device with their costs, parts as areas, transfers with bytes and time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html import escape
from importlib.resources import files

from deepseek_core.plan.layout import NODE_HEIGHT, NODE_WIDTH, Layout, Net, lay_out
from deepseek_core.plan.report import Plan
from deepseek_core.plan.words import amount, count, size

__all__ = ["COLOURS", "MOST_NODES", "graph_svg", "standalone"]

COLOURS = 8
MOST_NODES = 600
"""Beyond, the picture has one node for each part; beyond that many parts, there is none."""

_LABEL = 25


@dataclass(frozen=True, slots=True)
class _Node:
    """What is drawn as one box."""

    name: str
    label: str
    detail: str
    device: int
    part: int
    seconds: float
    title: str


def graph_svg(plan: Plan, width: float = 1100.0) -> str:
    """The picture, without a style of its own; empty when there are too many parts to draw."""
    whole = len(plan.units) <= MOST_NODES
    if not whole and len(plan.parts) > MOST_NODES:
        return ""
    nodes, nets = _units(plan) if whole else _parts(plan)
    firsts = dict[int, int]()
    for number, node in enumerate(nodes):
        firsts.setdefault(node.part, number)
    tagged = frozenset(firsts.values()) if whole else frozenset[int]()
    layout = lay_out(len(nodes), [net for net, *_ in nets], tagged=tagged, width=width)
    body = [*_areas(nodes, nets, layout)] if whole else []
    body += [*_edges(plan, nets, layout), *_boxes(nodes, layout)]
    if whole:
        body += _tags(plan, layout, firsts)
    body += _notes(nets, layout)
    view = f"0 0 {layout.width:.0f} {layout.height:.0f}"
    return (
        f'<svg class="graph" viewBox="{view}" width="{layout.width:.0f}" height="{layout.height:.0f}" role="img" '
        f'aria-label="the graph, coloured by device" xmlns="http://www.w3.org/2000/svg">\n{_ARROW}\n'
        + "\n".join(body)
        + "\n</svg>"
    )


def standalone(plan: Plan) -> str:
    """The picture as a document of its own."""
    style = files(__package__).joinpath("plan.css").read_text(encoding="utf-8")
    svg = graph_svg(plan) or '<svg xmlns="http://www.w3.org/2000/svg" width="1" height="1">'
    return svg.replace(">", f"><style>\n{style}svg {{ background: var(--card); }}\n</style>", 1)


_ARROW = (
    '<defs><marker id="tip" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="8" markerHeight="8"'
    ' orient="auto" markerUnits="userSpaceOnUse">'
    '<path d="M0 0.6 8 4 0 7.4z" class="tip"/></marker></defs>'
)

_Nets = Sequence[tuple[Net, str, dict[int, str], dict[int, str]]]
"""Net, name of the tensor, title and label by reader."""


def _units(plan: Plan) -> tuple[list[_Node], _Nets]:
    number = {target.target: i for i, target in enumerate(plan.targets)}
    nodes = [
        _Node(
            u.name,
            u.name,
            f"{u.op} · {amount(u.cost.seconds)}",
            number[u.target],
            u.part,
            u.cost.seconds,
            f"{u.name} ({u.op}) on {u.target}, part {u.part}: {amount(u.cost.seconds)} ({u.cost.basis})\n{u.why}",
        )
        for u in plan.units
    ]
    moved = {(t.tensor, plan.parts[t.to].target): t for t in plan.transfers}
    nets = []
    for source, readers, held, name in plan.edges:
        titles, labels = {}, {}
        for reader in readers:
            transfer = moved.get((name, plan.units[reader].target))
            titles[reader] = f"{name}: {size(held)}"
            if transfer is not None and plan.units[reader].target != plan.units[source].target:
                cost = f"{size(held)} · {amount(transfer.cost.seconds)}"
                titles[reader] = f"{name}: {cost} from part {transfer.source} ({transfer.cost.basis})"
                labels[reader] = cost
        nets.append((Net(source, readers, frozenset(labels)), name, titles, labels))
    return nodes, nets


def _parts(plan: Plan) -> tuple[list[_Node], _Nets]:
    number = {target.target: i for i, target in enumerate(plan.targets)}
    nodes = [
        _Node(
            p.units[0],
            f"part {p.number}",
            f"{count(len(p.units), 'unit')} · {amount(p.end - p.start)}",
            number[p.target],
            p.number,
            p.end - p.start,
            f"part {p.number} on {p.target}: {count(len(p.units), 'unit')}, {amount(p.end - p.start)}",
        )
        for p in plan.parts
    ]
    between: dict[tuple[int, int], int] = {}
    for source, readers, held, _ in plan.edges:
        for reader in {plan.units[reader].part for reader in readers} - {plan.units[source].part}:
            pair = (plan.units[source].part, reader)
            between[pair] = between.get(pair, 0) + held
    nets = []
    for (source, reader), held in sorted(between.items()):
        crosses = plan.parts[source].target != plan.parts[reader].target
        labels = {reader: size(held)} if crosses else {}
        nets.append((Net(source, (reader,), frozenset(labels)), "", {reader: size(held)}, labels))
    return nodes, nets


def _areas(nodes: Sequence[_Node], nets: _Nets, layout: Layout) -> Iterator[str]:
    """Each part as one pale area behind its nodes and the edges inside it."""
    shapes: dict[int, list[str]] = {}
    for node, box in zip(nodes, layout.boxes, strict=True):
        shapes.setdefault(node.part, []).append(
            f'<rect x="{box.left - 9:.1f}" y="{box.top - 9:.1f}" width="{box.width + 18:.1f}" '
            f'height="{box.height + 18:.1f}" rx="13"/>'
        )
    for route in layout.routes:
        source = nets[route.net][0].source
        if nodes[source].part == nodes[route.reader].part and "H" not in route.path:
            shapes[nodes[source].part].append(f'<path d="{route.path}"/>')
    for part, drawn in shapes.items():
        device = next(node.device for node in nodes if node.part == part)
        yield f'<g class="area d{device % COLOURS}" data-part="{part}">{"".join(drawn)}</g>'


def _edges(plan: Plan, nets: _Nets, layout: Layout) -> Iterator[str]:
    heaviest = max((held for *_, held, _ in plan.edges), default=1) or 1
    weight = {name: 1.0 + 2.2 * (held / heaviest) ** 0.5 for _, _, held, name in plan.edges}
    for route in layout.routes:
        _, name, titles, labels = nets[route.net]
        kind = "edge across" if route.reader in labels else "edge"
        yield (
            f'<path class="{kind}" d="{route.path}" stroke-width="{weight.get(name, 1.4):.1f}" marker-end="url(#tip)">'
            f"<title>{escape(titles[route.reader])}</title></path>"
        )


def _boxes(nodes: Sequence[_Node], layout: Layout) -> Iterator[str]:
    most = max((node.seconds for node in nodes), default=0.0) or 1.0
    for number, (node, box) in enumerate(zip(nodes, layout.boxes, strict=True)):
        bar = (NODE_WIDTH - 16) * node.seconds / most
        yield (
            f'<g class="node d{node.device % COLOURS}" data-unit="{number}" data-part="{node.part}" tabindex="0" '
            f'transform="translate({box.left:.1f} {box.top:.1f})">'
            f"<title>{escape(node.title)}</title>"
            f'<rect class="box" width="{NODE_WIDTH:.0f}" height="{NODE_HEIGHT:.0f}" rx="7"/>'
            f'<rect class="band" width="5" height="{NODE_HEIGHT - 12:.0f}" x="5" y="6" rx="2.5"/>'
            f'<text x="17" y="16">{escape(_short(node.label))}</text>'
            f'<text class="soft" x="17" y="29">{escape(node.detail)}</text>'
            f'<rect class="heat" x="8" y="{NODE_HEIGHT - 4:.0f}" width="{bar:.1f}" height="2" rx="1"/></g>'
        )


def _tags(plan: Plan, layout: Layout, firsts: dict[int, int]) -> Iterator[str]:
    number = {target.target: i for i, target in enumerate(plan.targets)}
    for part, node in firsts.items():
        found, box = plan.parts[part], layout.boxes[node]
        text = f"part {part} · {found.target.backend} · {amount(found.end - found.start)}"
        yield (
            f'<text class="tag d{number[found.target] % COLOURS}" x="{box.left - 4:.1f}" y="{box.top - 14:.1f}">'
            f"{escape(text)}</text>"
        )


def _notes(nets: _Nets, layout: Layout) -> Iterator[str]:
    """Labels of transfers; one for each tensor and place, moved aside where two would meet."""
    taken: list[tuple[float, float]] = []
    seen: set[tuple[int, str, int]] = set()
    for route in layout.routes:
        labels = nets[route.net][3]
        if route.reader not in labels:
            continue
        text, (x, y) = labels[route.reader], route.note
        if (route.net, text, round(y)) in seen:
            continue
        seen.add((route.net, text, round(y)))
        wide = 6.2 * len(text) + 14
        while any(abs(x - a) < wide and abs(y - b) < 16 for a, b in taken):
            y += 16
        taken.append((x, y))
        yield (
            f'<g class="note"><rect x="{x - wide / 2:.1f}" y="{y - 8.5:.1f}" width="{wide:.1f}" height="17" rx="8.5"/>'
            f'<text x="{x:.1f}" y="{y + 3.8:.1f}">{escape(text)}</text></g>'
        )


def _short(name: str) -> str:
    return name if len(name) <= _LABEL else f"{name[: _LABEL // 2]}…{name[-(_LABEL // 2) :]}"
