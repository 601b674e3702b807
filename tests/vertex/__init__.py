"""Tests of learning and serving."""
