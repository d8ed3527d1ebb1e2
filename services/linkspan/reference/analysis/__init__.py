"""System B of the reference integration: a plan analysis system (WebSocket, API key)."""
