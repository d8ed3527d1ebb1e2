"""Replays: what is selected, how it is frozen, what a run of it comes to."""
