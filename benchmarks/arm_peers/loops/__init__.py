"""The naive baseline: a network as plain loops in C."""

from arm_peers.loops.writer import count_loops

__all__ = ["count_loops"]
