"""What is known of the request under way where SGLang hands on only parts of it.

The adapter sees a request object without headers, and what generates sees only the prompt's ids.
Between the two stands one SGLang method for each API; around it our hooks open a scope, which the
adapter finds by a ContextVar: concurrent requests run in threads or tasks of their own.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple, Protocol

from sglang_kimi.codec.ledger import Origin
from sglang_kimi.codec.prefix_walk import PrefixWalk

_TURN: Final = "kimi_turn"
"""Attribute of SGLang's GenerateReqInput that holds our Turn."""


class TurnStore(Protocol):
    """Remembers generated turns."""

    def record(self, turn: "Turn", output_ids: list[int]) -> None:
        """Remember what was generated after the turn's prompt."""

    def confirm(self, turn: "Turn") -> None:
        """Raise ValueError if what begins to be generated stands behind another prompt."""


class Pairing(NamedTuple):
    """A request that a prefill and a decode server share.

    side: "prefill" or "decode", which of them this is. room: what names the request on both.
    """

    side: str
    room: str


@dataclass(frozen=True, eq=False)
class Turn:
    """A prompt of ours that is to be answered, and who asked.

    prompt_ids must end with the generation prompt; it is the very list that SGLang gets.
    prompt_digest is its digest, hashed where the prompt was built and not on the event loop.
    place is where the answer belongs among the encoded prefixes, if that is known.
    """

    store: TurnStore
    prompt_ids: list[int]
    prompt_digest: bytes
    origin: Origin
    pairing: Pairing | None = None
    place: PrefixWalk | None = None

    def record(self, output_ids: list[int]) -> None:
        """Remember the answer, stop token included, as far as it was generated."""
        self.store.record(self, output_ids)

    def confirm(self) -> None:
        """Raise ValueError if what begins to be generated stands behind another prompt."""
        self.store.confirm(self)

    def __reduce__(self) -> tuple[type[None], tuple[()]]:
        """Pickle as None: SGLang can dump requests to files, where this has no place."""
        return type(None), ()


@dataclass
class RequestScope:
    """One request on its way to the scheduler; `turn` is there once its prompt is encoded."""

    origin: Origin = field(default_factory=Origin)
    pairing: Pairing | None = None
    turn: Turn | None = None


_scope: ContextVar[RequestScope | None] = ContextVar("kimi_request_scope", default=None)


@contextmanager
def entered(origin: Origin, pairing: Pairing | None = None) -> Iterator[RequestScope]:
    """Open the scope of a request for what is called inside."""
    scope = RequestScope(origin, pairing)
    token = _scope.set(scope)
    try:
        yield scope
    finally:
        _scope.reset(token)


def current() -> RequestScope:
    """Return the scope of the request under way; outside of all a new one, of nobody."""
    return _scope.get() or RequestScope()


def attach_turn(generate_request: Any, turn: Turn | None) -> None:
    """Let SGLang's generate request carry the turn to where its output ids pass."""
    if turn is not None:
        setattr(generate_request, _TURN, turn)


def attached_turn(generate_request: Any) -> Turn | None:
    """Return the turn of a generate request, None where its prompt is not ours."""
    turn: Turn | None = getattr(generate_request, _TURN, None)
    return turn
