"""What keeps us from asking another system too much; for whoever speaks to one."""
