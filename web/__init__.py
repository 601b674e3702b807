"""The browser SDK, the Python client, and a demo storefront that uses the SDK."""
