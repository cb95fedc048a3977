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
        self.is_flowing = False  # a piece that doesn't end in a blank needs no more than `json`
        self._counters = counters
        self._held: list[str] = []  # blanks that may be the last ones, or a wrapped string

    def feed(self, text: str) -> str:
        """Take text in, return what can be passed on now."""
        self.json.feed(text)
        if not self.json.first:
            return ""
        if not self.is_flowing and not self._held:  # the first piece that is not blank
            text = text.lstrip()
        may_be_wrapped = self.json.first == '"'  # around an object, which only its end tells
        visible = text if self.json.in_string else text.rstrip()
        if may_be_wrapped or not visible:
            self._held.append(text)
            self.is_flowing = False
            return ""
        released = "".join(self._held) + visible
        self.is_flowing = len(visible) == len(text)
        self._held = [] if self.is_flowing else [text[len(visible) :]]
        return released

    def finish(self, *, is_cut: bool) -> str:
        """Return what is left to pass on; a cut call keeps its partial text as it is."""
        held = "".join(self._held)
        if not self.json.in_string:
            held = held.rstrip()
        if is_cut:
            self._counters[Repair.CUT_ARGUMENTS] += 1
            return held
        if not self.json.first:
            self._counters[Repair.EMPTY_ARGUMENTS] += 1
            return "{}"
        if self.json.first == '"' and (inner := unwrap_object(held)) is not None:
            self._counters[Repair.UNWRAPPED_ARGUMENTS] += 1
            return inner
        if not self.json.is_object:
            self._counters[Repair.ODD_ARGUMENTS] += 1
        return held
