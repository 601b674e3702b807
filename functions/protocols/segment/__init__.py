"""Segment's HTTP API, which RudderStack's SDKs use too."""
