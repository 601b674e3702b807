"""Access: who may send, from where, how much."""
