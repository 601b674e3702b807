"""Edges that the deployables share: environment, logs, metrics, clients of Google Cloud, bounded
HTTP.
"""
