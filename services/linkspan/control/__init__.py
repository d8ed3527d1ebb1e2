"""The control API: what operators see and do, on every replica of ingress and egress."""

import os

# uvloop starts a subprocess (a planner, the reader of a plan file) by fork, where gRPC's handlers stop and start its
# threads and write to stderr; ours go on to exec at once, which needs none of that. gRPC reads it at its first use.
os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "0")
