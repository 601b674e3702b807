"""Faults survived: the real pipeline on the real emulators, hurt, and nothing lost or counted
twice.
"""
