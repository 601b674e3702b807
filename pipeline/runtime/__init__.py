"""HTTP edges that the deployables share: bounds of requests and of whoever sends them."""
