"""Quantizers judged on real networks: data, peers in environments of their own, one judge."""
