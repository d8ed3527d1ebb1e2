"""Linkspan: a bridge between two systems that loses nothing."""

import os

__version__ = "0.1.0"

# gRPC's Python library cannot be told a lowest TLS version, only the cipher suites of TLS 1.2; those of 1.3 are always
# there. This one needs a key that both sides share beforehand, which neither has, so no handshake of 1.2 can end well.
# gRPC reads it when it is imported, and everything of ours comes after this.
os.environ["GRPC_SSL_CIPHER_SUITES"] = "PSK-AES128-CBC-SHA"
