"""Where in a JSON text an output stands: outside of strings, or how far within one."""

from typing import Final, NamedTuple


class TextState(NamedTuple):
    """The place after some bytes of a JSON text.

    num_bytes: bytes since the opening quote of the string that it stands in.
    """

    is_string: bool = False
    is_escape: bool = False
    num_bytes: int = 0

    def after(self, data: bytes) -> "TextState":
        """Return the place after `data`."""
        if self.is_string and not self.is_escape and b'"' not in data and b"\\" not in data:
            return TextState(True, False, self.num_bytes + len(data))
        if not self.is_string and b'"' not in data:
            return OUTSIDE
        is_string, is_escape, num_bytes = self
        for byte in data:
            if is_escape:
                is_escape, num_bytes = False, num_bytes + 1
            elif byte == 0x22:
                is_string, num_bytes = not is_string, 0
            elif is_string:
                is_escape, num_bytes = byte == 0x5C, num_bytes + 1
        return TextState(is_string, is_escape, num_bytes)


OUTSIDE: Final = TextState()
