"""The arguments of one call on their way from the model to the client.

The text is the model's own: only blanks around it are trimmed, nothing becomes `{}`, and a JSON
string that holds an object is unwrapped. Everything else passes through as it comes.
"""

from collections import Counter

from .json_text import JsonScanner, unwrap_object
from .repairs import Repair


class ArgumentStream:
    """Trim, hold and release the argument text of one call."""

    def __init__(self, counters: Counter[str]) -> None:
        """Count repairs in `counters`."""
        self.json = JsonScanner()
        self._counters = counters
        self._held: list[str] = []  # blanks that may be the last ones, or a wrapped string

    @property
    def is_blank(self) -> bool:
        """Tell whether nothing but blanks has come."""
        return not self.json.first

    def feed(self, text: str) -> str:
        """Take text in, return what can be passed on now."""
        if self.is_blank:
            text = text.lstrip()
        self.json.feed(text)
        if self.json.first == '"':  # may be a wrapped object, which only its end tells
            self._held.append(text)
            return ""
        visible = text.rstrip()
        if not visible:
            self._held.append(text)
            return ""
        released = "".join(self._held) + visible
        self._held = [text[len(visible) :]]
        return released

    def finish(self, *, is_cut: bool) -> str:
        """Return what is left to pass on; a cut call keeps its partial text as it is."""
        held = "".join(self._held).rstrip()
        if is_cut:
            self._counters[Repair.CUT_ARGUMENTS] += 1
            return held
        if self.is_blank:
            self._counters[Repair.EMPTY_ARGUMENTS] += 1
            return "{}"
        if self.json.first == '"' and (inner := unwrap_object(held)) is not None:
            self._counters[Repair.UNWRAPPED_ARGUMENTS] += 1
            return inner
        if not self.json.is_object:
            self._counters[Repair.ODD_ARGUMENTS] += 1
        return held
