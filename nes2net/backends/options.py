"""What back-ends check of their options, in the user's words."""

from nes2net.errors import InputError


def check_positive(**options: int) -> None:
    """Raise :class:`InputError` for the first option that is not a whole number of at least 1.

    >>> check_positive(num_logits=2, num_heads=4)
    """
    for name, value in options.items():
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            raise InputError(f"{name} must be a whole number of at least 1, got {value!r}")
