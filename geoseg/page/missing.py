"""What a page asks for in vain."""

__all__ = ["NotThereError"]


class NotThereError(LookupError):
    """What was asked for, and there is none of."""
