"""Who calls: static tokens, JWTs, client certificates."""
