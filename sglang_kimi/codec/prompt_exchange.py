"""One prompt for two servers: what the first of them encoded is handed to the second.

With prefill and decode apart, both servers encode the same request, and the decode server goes on
behind the state of the prefill server's ids. A turn that is recorded between the two could give
them different prompts, so the second takes the first one's.
"""

import hashlib
import json
import sqlite3
import time
from array import array
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from .exact_bytes import exact_bytes
from .ledger import packed
from .ledger_file import LedgerFile

_MAX_WAIT_S: Final = 600.0
"""A prompt that nobody fetched for so long is of a request that ended otherwise."""


class PromptMismatchError(ValueError):
    """The two servers would not work on the same prompt; the message holds nothing of it."""


def request_digest(
    tenant: str,
    messages: Sequence[Mapping[str, Any]],
    tools: Sequence[Mapping[str, Any]],
    *,
    continue_final_message: bool,
) -> bytes:
    """Return a digest of all that a prompt is made of, 32 bytes."""
    request = (tenant, list(messages), list(tools), continue_final_message)
    return hashlib.blake2b(exact_bytes(request), digest_size=32).digest()


class PromptExchange:
    """Hands prompts from one server to the other through their ledger's file; thread-safe."""

    def __init__(self, file: LedgerFile, *, clock: Callable[[], float] = time.time) -> None:
        """Use that file. clock: seconds since the epoch."""
        self._file = file
        self._clock = clock

    def agree(
        self,
        side: str,
        room: str,
        request: bytes,
        token_ids: Sequence[int],
        call_ids: Sequence[str],
    ) -> tuple[list[int], list[str]] | None:
        """Return the prompt that the other side made of a request, None if this side is the first.

        side:      which of the two servers this is.
        room:      what names the request on both.
        request:   its `request_digest`.
        token_ids: the prompt as this side encoded it, for the other side if that comes second.
        call_ids:  of the history's calls, as the answer's parser needs them.

        Raises PromptMismatchError if the other side had another request in that room, or if the
        file fails: then nobody knows.
        """
        now = self._clock()
        mine = (room, side, request, packed(token_ids, "token_ids").tobytes())
        try:
            with self._file.writing() as db:
                db.execute("DELETE FROM prompts WHERE made_at < ?", (now - _MAX_WAIT_S,))
                theirs = db.execute(
                    "SELECT request_digest, token_ids, call_ids FROM prompts "
                    "WHERE room = ? AND side != ?",
                    (room, side),
                ).fetchone()
                if theirs is None:
                    db.execute(
                        "INSERT OR REPLACE INTO prompts VALUES (?, ?, ?, ?, ?, ?)",
                        (*mine, json.dumps(list(call_ids)), now),
                    )
                    return None
                db.execute("DELETE FROM prompts WHERE room = ?", (room,))
        except sqlite3.Error as error:
            raise PromptMismatchError(
                "the prompt cannot be compared with the other server's: the ledger's file failed "
                f"with {getattr(error, 'sqlite_errorname', type(error).__name__)}"
            ) from error
        their_request, their_bytes, their_call_ids = theirs
        their_ids = array("I")
        their_ids.frombytes(their_bytes)
        if their_request != request:
            raise PromptMismatchError(
                f"the prefill and the decode server got different requests in one bootstrap room: "
                f"this {side} server has a prompt of {len(token_ids)} tokens, the other one of "
                f"{len(their_ids)}"
            )
        return their_ids.tolist(), json.loads(their_call_ids)

    def check_fetched(self, side: str, room: str) -> None:
        """Check that the other side has fetched the prompt, or that this side fetched its own.

        To be called once the other side must have encoded its prompt. Raises PromptMismatchError
        if it never came for it: it uses another file.
        """
        try:
            with self._file.reading() as db:
                waiting = db.execute(
                    "SELECT length(token_ids) / 4 FROM prompts WHERE room = ? AND side = ?",
                    (room, side),
                ).fetchone()
        except sqlite3.Error as error:
            raise PromptMismatchError(
                "it cannot be told whether the other server took the prompt: the ledger's file "
                f"failed with {getattr(error, 'sqlite_errorname', type(error).__name__)}"
            ) from error
        if waiting is not None:
            raise PromptMismatchError(
                f"the other server never fetched this {side} server's prompt of {waiting[0]} "
                "tokens: want one SGLANG_KIMI_LEDGER_PATH for both, on one host, or none"
            )
