"""Who may send, how much, and how fast."""
