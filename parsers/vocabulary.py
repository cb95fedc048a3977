"""What parser and grammars must know of a tokenizer; `sglang_kimi.codec.vocabulary` implements it.

Control tokens are the ids from `num_ranks` up (FORMAT section 2.2); their texts are the same in
every checkpoint, their ids depend on the number of ranks below them.
"""

from collections.abc import Sequence
from typing import Final, Protocol

THINK_OPEN: Final = "<think>"
THINK_CLOSE: Final = "</think>"
SECTION_BEGIN: Final = "<|tool_calls_section_begin|>"
SECTION_END: Final = "<|tool_calls_section_end|>"
CALL_BEGIN: Final = "<|tool_call_begin|>"
ARGUMENT_BEGIN: Final = "<|tool_call_argument_begin|>"
CALL_END: Final = "<|tool_call_end|>"
TURN_END: Final = "<|im_end|>"
EOS: Final = "[EOS]"


class TokenVocabulary(Protocol):
    """Ids 0..num_ranks-1 are ordinary bytes, num_ranks..size-1 are control tokens."""

    @property
    def num_ranks(self) -> int:
        """Return the number of ordinary tokens."""

    @property
    def size(self) -> int:
        """Return the number of all ids, control tokens included."""

    @property
    def ordinary_tokens(self) -> Sequence[bytes]:
        """Return the bytes of the ordinary tokens, by id."""

    def token_bytes(self, token_id: int) -> bytes:
        """Return the bytes of an ordinary token; a control token gives its text's bytes."""

    def control_text(self, token_id: int) -> str | None:
        """Return the text of a control token, None for an ordinary one."""

    def control_id(self, text: str) -> int:
        """Return the id of a control token; KeyError if there is no such control text."""
