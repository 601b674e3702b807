"""What runs in a browser: the SDK, and a demo storefront that uses it."""
