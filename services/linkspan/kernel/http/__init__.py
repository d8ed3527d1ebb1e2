"""Linkspan as a client over HTTP: who it says it is, and what an answer says."""
