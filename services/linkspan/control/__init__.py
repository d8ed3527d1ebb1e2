"""The control API: what operators see and do, over gRPC."""
