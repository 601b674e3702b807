"""The contract of a site: its tracking plan, and the schemas of all events."""
