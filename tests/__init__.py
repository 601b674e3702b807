"""Freshet's tests, and what they run on: the local stack, the shopper simulator, the benchmarks."""
