"""Text in, events out: the front for output that arrives as text.

For transcripts and for hosts that detokenise before they parse. A marker is known by its spelling,
except inside an open JSON string of a call's arguments, where the same spelling is text. Chunks may
be of any size; only what may become a marker is held back.
"""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, Final

from . import vocabulary as v
from .declared_tools import ToolChoice, declared_tools
from .events import Event
from .machine import OutputMachine
from .tool_call_ids import CallIds

# Control tokens that have no place in an answer, but that some detokenisers let through.
_OUT_OF_PLACE: Final = (
    "<|im_user|>",
    "<|im_assistant|>",
    "<|im_system|>",
    "<|im_middle|>",
    "<|start_header_id|>",
    "<|end_header_id|>",
    "<|media_begin|>",
    "<|media_content|>",
    "<|media_end|>",
    "<|media_pad|>",
)
MARKERS: Final = (
    v.THINK_OPEN,
    v.THINK_CLOSE,
    v.SECTION_BEGIN,
    v.SECTION_END,
    v.CALL_BEGIN,
    v.ARGUMENT_BEGIN,
    v.CALL_END,
    v.TURN_END,
    *_OUT_OF_PLACE,
)
_RESERVED: Final = "<|reserved_token_"  # and up to six digits and `|>`
_RESERVED_PART: Final = re.compile(re.escape(_RESERVED) + r"[0-9]{0,6}\|?")
_MARKER: Final = re.compile(
    "|".join([*map(re.escape, MARKERS), re.escape(_RESERVED) + r"[0-9]{1,6}\|>"])
)
_MARKER_OR_QUOTE: Final = re.compile(f'{_MARKER.pattern}|"')
_LONGEST: Final = max(map(len, MARKERS))


class TextFront:
    """Parse one answer given as text; the counterpart of `OutputParser`, with the same events.

    `[EOS]`, `[PAD]` and their like are text, since programs spell them too (`ids[PAD]`); only an
    `[EOS]` at the very end is taken for the stop token.
    """

    def __init__(
        self,
        *,
        tools: Sequence[Mapping[str, Any]] | None,
        tool_choice: ToolChoice = "auto",
        history_call_ids: Sequence[str] | int = (),
        starts_in_thinking: bool = True,
    ) -> None:
        """Take the request's tools and choice; see `OutputParser` for the rest."""
        self.counters: Counter[str] = Counter()  # repairs and drops by `repairs.Repair`
        self._held = ""  # the possible beginning of a marker
        self._machine = OutputMachine(
            declared_tools(tools, tool_choice),
            CallIds(history_call_ids, self.counters),
            self.counters,
            starts_in_thinking=starts_in_thinking,
        )

    def feed(self, text: str) -> list[Event]:
        """Read the next piece of text and return what it settles."""
        if text and not self._held and "<" not in text and "[" not in text:  # begins no marker
            return self._machine.read(text)
        text = self._held + text
        self._held = ""
        position = 0
        while position < len(text) and not self._machine.has_ended:
            position = self._step(text, position)
        return self._machine.take()

    def finish(self, truncated: bool) -> list[Event]:
        """End the answer; what only began like a marker was text."""
        if self._held != v.EOS:
            self._machine.text(self._held)
        self._held = ""
        self._machine.finish(truncated=truncated)
        return self._machine.take()

    def _step(self, text: str, position: int) -> int:
        """Read up to the next marker, quote or end and return how far that came."""
        json = self._machine.open_json
        if json is not None and json.in_string:
            end = text.find('"', position) + 1 or len(text)  # an escaped one ends no string
            self._machine.text(text[position:end])
            return end
        pattern = _MARKER if json is None else _MARKER_OR_QUOTE
        found = pattern.search(text, position)
        if found is None:
            end = _possible_marker(text, position)
            self._machine.text(text[position:end])
            self._held = text[end:]
            return len(text)
        if found[0] == '"':
            self._machine.text(text[position : found.end()])
        else:
            self._machine.text(text[position : found.start()])
            self._machine.marker(found[0])
        return found.end()


def _possible_marker(text: str, position: int) -> int:
    """Return where an unfinished marker may begin, len(text) if nowhere.

    Every marker begins with its only `<`, or is `[EOS]`: the last such character decides.
    """
    start = max(text.rfind("<", position), text.rfind("[", position), len(text) - _LONGEST)
    tail = text[max(start, position) :]
    is_possible = tail and (
        any(marker.startswith(tail) for marker in (v.EOS, _RESERVED, *MARKERS))
        or _RESERVED_PART.fullmatch(tail)
    )
    return len(text) - len(tail) if is_possible else len(text)
