"""How messages arrive: over HTTP, or from a WebSocket that Linkspan itself holds."""
