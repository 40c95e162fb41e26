"""Where to draw the nodes and edges of a graph: in layers, folded into columns.

The layered method (Sugiyama, Tagawa and Toda, IEEE Trans. SMC 11(2), 1981): nodes by depth, a dummy in every layer that
an edge crosses, layers ordered by barycentres, and coordinates by least squares under a least distance. A deep graph is
cut where few edges cross and laid out in columns, so that it fits a page.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

__all__ = ["Box", "Layout", "Net", "Route", "lay_out"]

NODE_WIDTH, NODE_HEIGHT, LANE = 172.0, 38.0, 26.0
_ROW, _NOTE, _GUTTER, _TAG = 26.0, 22.0, 44.0, 26.0
_SWEEPS = 8
_FEWEST_ROWS = 10


@dataclass(frozen=True, slots=True)
class Net:
    """One tensor: from a node to nodes that come later.

    Attributes:
        noted: it carries a label, which needs room above each reader in `noted`.
    """

    source: int
    readers: tuple[int, ...]
    noted: frozenset[int] = frozenset()


@dataclass(frozen=True, slots=True)
class Box:
    """Centre and size of a node."""

    x: float
    y: float
    width: float = NODE_WIDTH
    height: float = NODE_HEIGHT

    @property
    def left(self) -> float:
        return self.x - self.width / 2

    @property
    def top(self) -> float:
        return self.y - self.height / 2


@dataclass(frozen=True, slots=True)
class Route:
    """An edge from a node to one reader.

    Attributes:
        path: SVG path data.
        note: where its label goes: the middle of its last stretch.
    """

    net: int
    reader: int
    path: str
    note: tuple[float, float]


@dataclass(frozen=True, slots=True)
class Layout:
    """A drawing.

    Attributes:
        boxes: one for each node.
    """

    width: float
    height: float
    boxes: tuple[Box, ...]
    routes: tuple[Route, ...]


def lay_out(count: int, nets: Sequence[Net], *, tagged: frozenset[int] = frozenset(), width: float = 1100.0) -> Layout:
    """Draw `count` nodes, numbered in topological order.

    Args:
        tagged: nodes that need room for a tag above them.
        width: room for columns; a graph that is wider stays wider.
    """
    if not count:
        return Layout(0.0, 0.0, (), ())
    layers = _Layers(count, nets)
    layers.order()
    return _Columns(layers, tagged, width).layout()


@dataclass(eq=False)
class _Layers:
    """Nodes (their number) and dummies (−1 − an index) in layers."""

    count: int
    nets: Sequence[Net]
    depth: list[int] = field(init=False)
    rows: list[list[int]] = field(init=False)
    links: list[tuple[int, int, int, int]] = field(init=False)
    """(upper, lower, net, reader at the lower end or -1), between neighbouring layers."""
    row_of: dict[int, int] = field(init=False)
    _chain: dict[tuple[int, int], int] = field(init=False, default_factory=dict)

    def __post_init__(self) -> None:
        self.depth = _depths(self.count, self.nets)
        self.rows = [[] for _ in range(max(self.depth) + 1)]
        self.row_of, self.links = {}, []
        for node, depth in enumerate(self.depth):
            self._add(node, depth)
        for number, net in enumerate(self.nets):
            self._thread(number, net)

    def order(self) -> None:
        """Barycentre sweeps; the order with the fewest crossings stays."""
        above, below = self.neighbours()
        best, fewest = [list(row) for row in self.rows], self._crossings()
        for sweep in range(_SWEEPS):
            down = sweep % 2 == 0
            place = {item: float(i) for row in self.rows for i, item in enumerate(row)}
            for row in self.rows if down else reversed(self.rows):
                near = above if down else below
                row.sort(key=lambda item: _mean([place[n] for n in near[item]], place[item]))
                place.update((item, float(i)) for i, item in enumerate(row))
            crossings = self._crossings()
            if crossings < fewest:
                best, fewest = [list(row) for row in self.rows], crossings
        self.rows = best

    def neighbours(self) -> tuple[dict[int, list[int]], dict[int, list[int]]]:
        """For each item, the linked items of the layer above and of the one below."""
        above: dict[int, list[int]] = {item: [] for item in self.row_of}
        below: dict[int, list[int]] = {item: [] for item in self.row_of}
        for upper, lower, _, _ in self.links:
            above[lower].append(upper)
            below[upper].append(lower)
        return above, below

    def dummy(self, net: int, row: int) -> int | None:
        """The dummy of a net in a layer."""
        return self._chain.get((net, row))

    def _add(self, item: int, row: int) -> None:
        self.rows[row].append(item)
        self.row_of[item] = row

    def _thread(self, number: int, net: Net) -> None:
        last, upper = max(self.depth[reader] for reader in net.readers), net.source
        for row in range(self.depth[net.source] + 1, last + 1):
            self.links += [(upper, reader, number, reader) for reader in net.readers if self.depth[reader] == row]
            if row < last:
                item = -1 - len(self._chain)
                self._chain[number, row] = item
                self._add(item, row)
                self.links.append((upper, item, number, -1))
                upper = item

    def _crossings(self) -> int:
        place = {item: i for row in self.rows for i, item in enumerate(row)}
        by_row: dict[int, list[tuple[int, int]]] = {}
        for upper, lower, _, _ in self.links:
            by_row.setdefault(self.row_of[lower], []).append((place[upper], place[lower]))
        total = 0
        for ends in by_row.values():
            ends.sort()
            lowers = [lower for _, lower in ends]
            total += sum(lowers[i] > lowers[j] for i in range(len(lowers)) for j in range(i + 1, len(lowers)))
        return total


def _depths(count: int, nets: Sequence[Net]) -> list[int]:
    """Longest path from a source; a source stands right above its first reader."""
    depth = [0] * count
    into: list[list[int]] = [[] for _ in range(count)]
    first: list[list[int]] = [[] for _ in range(count)]
    for net in nets:
        for reader in net.readers:
            into[reader].append(net.source)
            first[net.source].append(reader)
    for node in range(count):
        depth[node] = max((depth[source] + 1 for source in into[node]), default=0)
    for node in range(count):
        if not into[node] and first[node]:
            depth[node] = max(0, min(depth[reader] for reader in first[node]) - 1)
    return depth


class _Columns:
    """The layers in columns, with coordinates."""

    def __init__(self, layers: _Layers, tagged: frozenset[int], width: float) -> None:
        self.layers = layers
        self.column = self._cut(width)
        self.x = self._across()
        self.y = self._down(tagged)

    def layout(self) -> Layout:
        boxes = tuple(Box(self.x[node], self.y[self.layers.row_of[node]]) for node in range(self.layers.count))
        routes = tuple(self._route(net, reader) for net, n in enumerate(self.layers.nets) for reader in n.readers)
        right = max(x + _half(item) for item, x in self.x.items())
        bottom = max(self.y) + NODE_HEIGHT / 2
        jumps = any(upper != lower for upper, lower in zip(self.column, self.column[1:], strict=False))
        return Layout(right + 6, bottom + (30 if jumps else 8), boxes, routes)

    def _cut(self, width: float) -> list[int]:
        """The column of each layer: as many columns as fit, cut where few edges cross."""
        rows = self.layers.rows
        widest = max(sum(2 * _half(item) for item in row) for row in rows)
        columns = max(1, min(int((width + _GUTTER) // (widest + _GUTTER)), len(rows) // _FEWEST_ROWS))
        crossing = [0] * (len(rows) + 1)
        for _, lower, _, _ in self.layers.links:
            crossing[self.layers.row_of[lower]] += 1
        column, begin = [0] * len(rows), 0
        for number in range(1, columns):
            ideal = round(number * len(rows) / columns)
            spread = max(1, len(rows) // columns // 5)
            near = range(max(begin + 2, ideal - spread), min(len(rows) - 1, ideal + spread) + 1)
            begin = min(near, key=lambda row: (crossing[row], abs(row - ideal)), default=ideal)
            for row in range(begin, len(rows)):
                column[row] = number
        return column

    def _across(self) -> dict[int, float]:
        above, below = self.layers.neighbours()
        same = {item: self.column[row] for item, row in self.layers.row_of.items()}
        x: dict[int, float] = {}
        for row in self.layers.rows:
            offset = 0.0
            for item in row:
                x[item] = offset + _half(item)
                offset += 2 * _half(item)
        for sweep in range(12):
            down = sweep % 2 == 0
            for row in self.layers.rows if down else reversed(self.layers.rows):
                near = above if down else below
                wanted = [_mean([x[n] for n in near[i] if same[n] == same[i]], x[i]) for i in row]
                x.update(zip(row, _spaced(wanted, [_half(item) for item in row]), strict=True))
        left = 8.0
        for number in range(self.column[-1] + 1):
            items = [item for item in x if same[item] == number]
            shift = left - min(x[item] - _half(item) for item in items)
            x.update((item, x[item] + shift) for item in items)
            left = max(x[item] + _half(item) for item in items) + _GUTTER
        return x

    def _down(self, tagged: frozenset[int]) -> list[float]:
        noted = {(number, reader) for number, net in enumerate(self.layers.nets) for reader in net.noted}
        gap = [_ROW] * len(self.layers.rows)
        for _, lower, net, reader in self.layers.links:
            if (net, reader) in noted:
                gap[self.layers.row_of[lower]] = _ROW + _NOTE
        for node in tagged:
            row = self.layers.row_of[node]
            gap[row] = max(gap[row], _ROW + _TAG) if gap[row] == _ROW else _ROW + _NOTE + _TAG
        y, at = [], 0.0
        for row in range(len(gap)):
            fresh = row == 0 or self.column[row] != self.column[row - 1]
            at = NODE_HEIGHT / 2 + 10 + gap[row] if fresh else at + NODE_HEIGHT + gap[row]
            y.append(at)
        return y

    def _route(self, number: int, reader: int) -> Route:
        net, layers = self.layers.nets[number], self.layers
        half = NODE_HEIGHT / 2
        row, x, y = layers.depth[net.source], self.x[net.source], self.y[layers.depth[net.source]] + half
        path, start = f"M{x:.1f} {y:.1f}", (x, y)
        for below in range(row + 1, layers.depth[reader] + 1):
            item = reader if below == layers.depth[reader] else layers.dummy(number, below)
            assert item is not None
            to_x, to_y = self.x[item], self.y[below] - half
            if self.column[below] != self.column[below - 1]:
                path += self._jump(number, below, (x, y), (to_x, to_y))
                start = (to_x, to_y - 3.4 * _NOTE)
            else:
                middle = (y + to_y) / 2
                path += f"C{x:.1f} {middle:.1f} {to_x:.1f} {middle:.1f} {to_x:.1f} {to_y:.1f}"
                start = (x, y)
            x, y = to_x, to_y
            if item != reader:
                y += NODE_HEIGHT
                path += f"V{y:.1f}"
        return Route(number, reader, path, ((start[0] + x) / 2, (start[1] + y) / 2))

    def _jump(self, number: int, row: int, start: tuple[float, float], end: tuple[float, float]) -> str:
        """From the foot of one column over the gutter to the head of the next."""
        items = [item for item, home in self.layers.row_of.items() if self.column[home] == self.column[row]]
        gutter = min(self.x[item] - _half(item) for item in items) - _GUTTER / 2
        shift = 5.0 * (number % 4)
        foot = max(y for y, c in zip(self.y, self.column, strict=True) if c == self.column[row - 1])
        foot += NODE_HEIGHT / 2 + 10 + shift
        head = max(end[1] - _ROW - _NOTE - _TAG + 10 - shift, 4.0)
        return f"L{start[0]:.1f} {foot:.1f}H{gutter + shift:.1f}V{head:.1f}H{end[0]:.1f}V{end[1]:.1f}"


def _half(item: int) -> float:
    """Half of the room that an item takes in its layer."""
    return (NODE_WIDTH + 22) / 2 if item >= 0 else LANE / 2


def _mean(values: Sequence[float], default: float) -> float:
    return sum(values) / len(values) if values else default


def _spaced(wanted: Sequence[float], halves: Sequence[float]) -> list[float]:
    """Positions nearest to the wanted ones (least squares) that keep order and distance: pool adjacent violators."""
    offsets, total = [], 0.0
    for position, half in enumerate(halves):
        total += half + (halves[position - 1] if position else 0.0)
        offsets.append(total)
    pools: list[tuple[float, int]] = []
    for value, offset in zip(wanted, offsets, strict=True):
        mean, size = value - offset, 1
        while pools and pools[-1][0] > mean:
            other, count = pools.pop()
            mean, size = (mean * size + other * count) / (size + count), size + count
        pools.append((mean, size))
    flat = [mean for mean, size in pools for _ in range(size)]
    return [base + offset for base, offset in zip(flat, offsets, strict=True)]
