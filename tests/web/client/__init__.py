"""The Python client: the wheel that its users install, over real HTTP, and with the real collector
behind it.
"""
