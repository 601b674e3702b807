"""The container behind the Vertex endpoint, and the prior model that ships with it."""
