"""One SGLang internal, and the check that it still is what we rely on."""

import inspect
import pkgutil
from dataclasses import dataclass
from typing import Any


class SeamError(RuntimeError):
    """SGLang no longer looks as we need it: read the named module of ours, then adapt it."""


@dataclass(frozen=True)
class Seam:
    """One SGLang internal.

    target:      dotted path as `pkgutil.resolve_name` takes it.
    parameters:  leading parameter names of the callable, empty for data and classes.
    used_by:     our module that depends on it, the place to adapt.
    why:         what we do there and why no official way exists.
    """

    target: str
    parameters: tuple[str, ...]
    used_by: str
    why: str


def resolve(seam: Seam) -> Any:
    """Return the object behind a seam; SeamError if it is gone or has other parameters."""
    try:
        found = pkgutil.resolve_name(seam.target)
    except (ImportError, AttributeError, ValueError) as error:
        raise SeamError(
            f"SGLang changed {seam.target} ({error}), see {seam.used_by}: {seam.why}"
        ) from error
    if seam.parameters:
        names = tuple(inspect.signature(inspect.unwrap(found)).parameters)
        if names[: len(seam.parameters)] != seam.parameters:
            raise SeamError(
                f"SGLang changed {seam.target}: it takes {names}, we rely on {seam.parameters}, "
                f"see {seam.used_by}: {seam.why}"
            )
    return found
