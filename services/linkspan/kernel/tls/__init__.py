"""TLS 1.3 for everything that listens or connects, with certificates that may change while the process runs."""
