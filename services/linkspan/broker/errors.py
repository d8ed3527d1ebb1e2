"""What can go wrong for a user of the broker."""


class BrokerError(Exception):
    """A mistake or a condition that the user can mend; its text is one line that says how."""

    def __init__(self, text: str) -> None:
        super().__init__(" ".join(text.split()))
