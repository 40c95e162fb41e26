"""The page and the pictures: well-formed, complete, escaped, and without the network."""

import re
from xml.etree import ElementTree

import pytest

from deepseek_core.errors import StorageError
from deepseek_core.plan import page, write_page, write_picture
from deepseek_core.plan import picture as picture_module
from deepseek_core.plan.picture import graph_svg, standalone
from deepseek_core.plan.words import amount, count, headline, percent, size, verdict


def test_the_page_has_everything(split_plan):
    text = page(split_plan)
    for unit in split_plan.units:
        assert unit.name in text
    for heading in ("Targets", "One inference", "The graph", "Compared", "Refusals", "Transfers", "Every unit"):
        assert f"<h2>{heading}" in text
    assert "the npu has no Add" in text
    assert "take &lt;another&gt; op than Add" in text
    assert "model &lt;1&gt;" in text
    assert "no the board: plug it in" in text
    assert not re.search(r"(?:src|href)=|@import|url\((?!#)|https?://(?!www\.w3\.org)", text)


def test_the_pictures_are_well_formed(split_plan):
    svg = "{http://www.w3.org/2000/svg}"
    root = ElementTree.fromstring(standalone(split_plan))
    nodes = [g for g in root.iter(f"{svg}g") if "node" in g.get("class", "").split()]
    assert len(nodes) == len(split_plan.units)
    assert root.find(f"{svg}style") is not None
    across = [p for p in root.iter(f"{svg}path") if p.get("class") == "edge across"]
    assert len(across) == 2
    notes = ["".join(g.itertext()) for g in root.iter(f"{svg}g") if g.get("class") == "note"]
    assert notes == ["3.9 KiB · 4.00 ms"] * 2
    for match in re.findall(r"<svg class=.*?</svg>", page(split_plan), re.S):
        ElementTree.fromstring(match)


def test_large_models_are_drawn_by_part(planned, net, device, monkeypatch):
    plan = planned(net(("Relu", "Neg") * 4), [device("npu", {"Neg": 9.0}), device("cpu", {"Relu": 9.0})])
    monkeypatch.setattr(picture_module, "MOST_NODES", 8)
    drawn = graph_svg(plan)
    assert drawn.count('class="node') == len(plan.parts)
    assert "part 0" in drawn
    monkeypatch.setattr(picture_module, "MOST_NODES", 3)
    assert graph_svg(plan) == ""


def test_files_are_written_whole_or_not_at_all(split_plan, tmp_path):
    write_page(split_plan, tmp_path / "p.html")
    write_picture(split_plan, tmp_path / "p.svg")
    assert (tmp_path / "p.html").read_text().startswith("<!doctype html>")
    assert (tmp_path / "p.svg").read_text().startswith("<svg")
    with pytest.raises(StorageError):
        write_page(split_plan, tmp_path / "nowhere" / "p.html")


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (0.0, "0 ns"),
        (2.5, "2.50 s"),
        (1.4e-3, "1.40 ms"),
        (12.34e-6, "12.3 µs"),
        (999.6e-6, "1.00 ms"),
        (3e-9, "3.00 ns"),
    ],
)
def test_amounts(number, text):
    assert amount(number) == text


def test_words(split_plan):
    assert (size(4000), percent(0.123), percent(0.004), percent(0.0)) == ("3.9 KiB", "12 %", "0.4 %", "0 %")
    assert (count(1, "part"), count(2_000, "part")) == ("1 part", "2,000 parts")
    assert headline(split_plan) == "508 ms for one inference"
    assert verdict(split_plan).startswith("3 parts, 2 transfers; optimal: no placement is better")
