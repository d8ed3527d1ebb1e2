"""What happens around every call of the control API."""
