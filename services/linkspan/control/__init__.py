"""The control API: what operators see and do, on every replica of ingress and egress."""
