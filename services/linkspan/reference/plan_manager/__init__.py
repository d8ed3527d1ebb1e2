"""System A of the reference integration: a construction plan manager (REST, OAuth2)."""
