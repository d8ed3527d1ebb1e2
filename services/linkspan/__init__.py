"""Linkspan: a bridge between two systems that loses nothing."""

__version__ = "0.1.0"
