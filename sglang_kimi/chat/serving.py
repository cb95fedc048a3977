"""Whether this process answers requests for one of our architectures.

Some of SGLang's functions that we hook see neither the model nor a handler. A process serves one
model, and our adapter is built only where it is ours.
"""

_is_active = False


def activate(is_active: bool = True) -> None:
    """Note that our adapter was built in this process; False takes that back, to measure stock."""
    global _is_active
    _is_active = is_active


def is_active() -> bool:
    """Say whether our adapter was built in this process."""
    return _is_active
