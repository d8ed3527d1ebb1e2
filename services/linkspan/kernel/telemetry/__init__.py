"""Logs, traces and metrics: what a process tells about itself."""
