"""Segment's HTTP API, which RudderStack's SDKs speak too."""
