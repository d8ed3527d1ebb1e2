"""Encryption at rest: the keyring, data keys wrapped by it, and what they seal. docs/decisions/0023."""
