"""The demo storefront: static files, a catalog and the addresses of the collector and the API."""
