"""The answers to calls that read; each class takes request messages and gives response messages."""
