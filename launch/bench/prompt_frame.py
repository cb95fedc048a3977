"""What a prompt must be, and whether its ids are that: judged without the code that makes prompts.

The tokenizer's files are read here once more, since a judge that shares its table with the accused
would share its mistakes.
"""

import binascii
import json
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Final

_NUM_CONTROL: Final = 256


@dataclass(frozen=True)
class Control:
    """A control token of the frame."""

    text: str


Frame = Sequence[Control | str]
"""A prompt's control tokens and the texts between them, in order."""


def turn(opener: str, heading: str, *body: Control | str) -> list[Control | str]:
    """Return a closed turn."""
    middle, end = Control("<|im_middle|>"), Control("<|im_end|>")
    return [Control(f"<|im_{opener}|>"), heading, middle, *body, end]


def assistant(
    thinking: str, content: str, *calls: tuple[str, str], heading: str = "assistant"
) -> list[Control | str]:
    """Return an assistant's turn; `calls` are pairs of id and arguments."""
    body: list[Control | str] = [Control("<think>"), thinking, Control("</think>"), content]
    if calls:
        body.append(Control("<|tool_calls_section_begin|>"))
        for call_id, arguments in calls:
            begin, middle = Control("<|tool_call_begin|>"), Control("<|tool_call_argument_begin|>")
            body += [begin, call_id, middle, arguments, Control("<|tool_call_end|>")]
        body.append(Control("<|tool_calls_section_end|>"))
    return turn("assistant", heading, *body)


def generation_prompt() -> list[Control | str]:
    """Return what stands before an answer."""
    middle = Control("<|im_middle|>")
    return [Control("<|im_assistant|>"), "assistant", middle, Control("<think>")]


class TokenTable:
    """The bytes and control texts of a tokenizer folder's ids."""

    def __init__(self, directory: Path) -> None:
        """Read tiktoken.model and tokenizer_config.json."""
        lines = (directory / "tiktoken.model").read_bytes().split(b"\n")
        self._bytes = [binascii.a2b_base64(line.split()[0]) for line in lines if line]
        config = json.loads((directory / "tokenizer_config.json").read_text(encoding="utf-8"))
        added = {
            int(key): value["content"] for key, value in config["added_tokens_decoder"].items()
        }
        first = len(self._bytes)
        self._controls = {
            token_id: added.get(token_id, f"<|reserved_token_{token_id}|>")
            for token_id in range(first, first + _NUM_CONTROL)
        }

    @property
    def control_texts(self) -> list[str]:
        """Return the texts of all control tokens, the reserved ones too."""
        return list(self._controls.values())

    def text(self, token_ids: Sequence[int]) -> str:
        """Return the text of ids, control tokens shown by theirs."""
        pieces = self.read(token_ids)
        return "".join(piece if isinstance(piece, str) else piece.text for piece in pieces)

    def read(self, token_ids: Sequence[int]) -> list[Control | str]:
        """Return the frame that ids are; bytes that are no UTF-8 become U+FFFD."""
        frame: list[Control | str] = []
        for is_control, run in groupby(token_ids, self._controls.__contains__):
            if is_control:
                frame += [Control(self._controls[token_id]) for token_id in run]
            else:
                frame.append(b"".join(map(self._bytes.__getitem__, run)).decode(errors="replace"))
        return frame

    def fault(self, token_ids: Sequence[int], frame: Frame) -> str | None:
        """Say where ids differ from the frame that they must be; None if nowhere."""
        got, wanted = self.read(token_ids), joined(frame)
        for index, (one, other) in enumerate(zip(got, wanted, strict=False)):
            if one != other:
                return f"piece {index}: want {other!r}, got {one!r}"
        if len(got) != len(wanted):
            return f"want {len(wanted)} pieces, got {len(got)}"
        return None


def joined(frame: Frame) -> list[Control | str]:
    """Return the frame with adjacent texts as one and no empty ones."""
    pieces: list[Control | str] = []
    for is_text, run in groupby(frame, lambda piece: isinstance(piece, str)):
        if not is_text:
            pieces += run
        elif text := "".join(piece for piece in run if isinstance(piece, str)):
            pieces.append(text)
    return pieces
