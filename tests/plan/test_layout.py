"""Drawings: nothing overlaps, everything is inside, edges run forwards."""

import re

from hypothesis import given, settings
from hypothesis import strategies as st

from deepseek_core.plan.layout import NODE_HEIGHT, Net, lay_out


@st.composite
def graphs(draw):
    count = draw(st.integers(1, 40))
    nets = []
    for source in range(count - 1):
        readers = draw(st.lists(st.integers(source + 1, min(count - 1, source + 9)), max_size=3, unique=True))
        if readers:
            noted = frozenset(readers[:1]) if draw(st.booleans()) else frozenset()
            nets.append(Net(source, tuple(sorted(readers)), noted))
    return count, nets, draw(st.sampled_from([300.0, 1100.0]))


@settings(max_examples=60, deadline=None)
@given(graphs())
def test_boxes_are_apart_and_inside(graph):
    count, nets, width = graph
    layout = lay_out(count, nets, tagged=frozenset(range(0, count, 7)), width=width)
    assert len(layout.boxes) == count
    boxes = sorted(layout.boxes, key=lambda box: (box.y, box.x))
    for one in range(count):
        box = boxes[one]
        assert box.left >= 0
        assert box.top >= 0
        assert box.left + box.width <= layout.width
        assert box.top + box.height <= layout.height
        for other in boxes[one + 1 :]:
            assert abs(other.x - box.x) >= box.width or abs(other.y - box.y) >= box.height


@settings(max_examples=40, deadline=None)
@given(graphs())
def test_every_edge_starts_and_ends_at_its_nodes(graph):
    count, nets, width = graph
    layout = lay_out(count, nets, width=width)
    assert sorted((r.net, r.reader) for r in layout.routes) == sorted(
        (n, r) for n, net in enumerate(nets) for r in net.readers
    )
    for route in layout.routes:
        numbers = [float(text) for text in re.findall(r"-?\d+\.\d", route.path)]
        source, reader = layout.boxes[nets[route.net].source], layout.boxes[route.reader]
        assert abs(numbers[0] - source.x) < 0.1
        assert abs(numbers[1] - (source.y + NODE_HEIGHT / 2)) < 0.1
        assert abs(numbers[-1] - reader.top) < 0.1


def test_a_deep_graph_is_folded():
    chain = [Net(i, (i + 1,)) for i in range(59)]
    folded, tall = lay_out(60, chain, width=1100.0), lay_out(60, chain, width=200.0)
    assert folded.height < tall.height / 3
    assert folded.width <= 1100.0


def test_a_chain_is_straight():
    layout = lay_out(5, [Net(i, (i + 1,)) for i in range(4)], width=200.0)
    assert len({box.x for box in layout.boxes}) == 1


def test_nothing():
    assert lay_out(0, []).boxes == ()
