"""A seeded shopper population: makes traffic, measures what Freshet does with it, replays real
logs.
"""
