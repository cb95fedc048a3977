"""One segment of an encoded prompt, with all that is needed to encode what follows it.

Segments hang together by the order in which a conversation visits them; each holds its own ids
only, so conversations share the segments that they have in common.
"""

import sys
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

from sglang_kimi.parsers.vocabulary import TURN_END

from .choices import Choices
from .cuts import TextCuts
from .encoded_texts import EncodedTexts
from .ledger import IdsDigest
from .odd_history import OddHistory
from .prefix_cache import CachedNode
from .prompt import PromptWriter, write_declaration, write_generation_prompt, write_turn
from .tool_call_ids import NativeIds
from .turns import Turn
from .vocabulary import Vocabulary

_NODE_BYTES: Final = 1600
"""What a node takes beside its ids and its key's texts: the objects themselves."""
_ID_BYTES: Final = 8
"""A reference: the numbers themselves are shared by all segments."""


@dataclass(frozen=True, slots=True)
class Opening:
    """What stands before an answer: its ids, and the digest of the prompt that ends with them."""

    token_ids: tuple[int, ...]
    prompt_digest: bytes


class PrefixNode(CachedNode):
    """A segment and the state behind it; never changed once its maker has given it away.

    cuts, digest:           of the whole prefix, this segment included.
    returned_ids, shown_ids: ids of the segment's calls, as the client has them and as the prompt
                            and its parser know them.
    next_index:             the index that the next counted call gets, None before any call.
    answers:                the client's id of the call that a tool message answers.
    entry_serial:           the ledger's entry that was put back here, 0 if none.
    num_spliced_tokens:     ids that came from that entry.
    num_restored_tokens:    those of them that are thinking which the client did not send.
    opening:                the generation prompt behind it, made when first asked for.
    choices:                what was decided for the assistant turns behind it, if anything was.
    image:                  of the message as it came last, None for one that is left open or has
                            none to keep; a message with an equal image is this one.
    image_bytes:            what the image takes, counted in `num_bytes`.
    chosen:                 of an assistant's, the version of the candidates and the hint with
                            which it was last chosen; None where no choice is to be made.
    native_ids:             the naming of ids behind it, for the next one who goes on to take.
    """

    __slots__ = (
        "answers",
        "choices",
        "chosen",
        "cuts",
        "digest",
        "entry_serial",
        "image",
        "image_bytes",
        "native_ids",
        "next_index",
        "num_restored_tokens",
        "num_spliced_tokens",
        "opening",
        "returned_ids",
        "shown_ids",
        "token_ids",
    )

    def __init__(
        self,
        key: Hashable,
        token_ids: tuple[int, ...],
        cuts: TextCuts,
        digest: IdsDigest,
        num_bytes: int,
    ) -> None:
        super().__init__(key, num_bytes)
        self.token_ids = token_ids
        self.cuts = cuts
        self.digest = digest
        self.returned_ids: tuple[str, ...] = ()
        self.shown_ids: tuple[str, ...] = ()
        self.next_index: int | None = None
        self.answers: str | None = None
        self.entry_serial = 0
        self.num_spliced_tokens = 0
        self.num_restored_tokens = 0
        self.opening: Opening | None = None
        self.choices: Choices | None = None
        self.image: Any = None
        self.image_bytes = 0
        self.chosen: tuple[Hashable, str | None] | None = None
        self.native_ids: NativeIds | None = None

    def replay(self, ids: NativeIds) -> None:
        """Let `ids`, which stands before this segment, go on behind it."""
        if self.shown_ids or self.returned_ids:
            ids.follow_calls(self.returned_ids, self.shown_ids, self.next_index)
        if self.answers is not None:
            ids.answer(self.answers)


class NodeMaker:
    """Encodes segments for one vocabulary."""

    def __init__(self, vocabulary: Vocabulary, max_text_bytes: int) -> None:
        """Prepare the numbers that all segments share; remember `max_text_bytes` of texts."""
        self.vocabulary = vocabulary
        self.texts = EncodedTexts(vocabulary, max_text_bytes)
        self.odd = OddHistory()
        self._numbers = list(range(vocabulary.size))
        self._opening_ids = self._opening_behind(TextCuts())
        self._opening_chars = len(vocabulary.decode(self._opening_ids))

    def declaration(self, key: Hashable, tools: Sequence[Mapping[str, Any]] | None) -> PrefixNode:
        """Return the first segment, empty without tools."""
        cuts = TextCuts()
        writer = PromptWriter(self.vocabulary, cuts)
        if tools:
            write_declaration(writer, tools)
        return self._node(key, writer.take(), cuts, IdsDigest())

    def message(
        self,
        key: Hashable,
        parent: PrefixNode,
        message: Mapping[str, Any],
        where: str,
        turn: Turn,
        ids: NativeIds,
        *,
        tenant: str,
        is_open: bool,
    ) -> PrefixNode:
        """Return the segment of a message, encoded; `ids` goes on behind it."""
        self.odd.look_at(turn, ids)
        cuts = parent.cuts.copy()
        writer = PromptWriter(self.vocabulary, cuts, partial(self.texts.encode, tenant))
        shown = _ShownIds(ids)
        write_turn(writer, message, where, shown)
        if not is_open:
            writer.control(TURN_END)
        node = self._node(key, writer.take(), cuts, parent.digest.copy(), turn)
        node.returned_ids = tuple(call.id for call in turn.calls)
        node.shown_ids = tuple(shown.call_ids)
        node.next_index = ids.next_index
        node.answers = turn.answers if turn.role == "tool" else None
        return node

    def generated(
        self,
        key: Hashable,
        parent: PrefixNode,
        token_ids: Sequence[int],
        turn: Turn,
        shown_ids: tuple[str, ...],
    ) -> PrefixNode:
        """Return the segment of a turn put back: `token_ids` are all behind its opening."""
        opening = self.opening(parent)
        token_ids = [*opening.token_ids, *token_ids]
        cuts = parent.cuts.copy()
        cuts.pieces(self.vocabulary.decode(token_ids))  # counts them as text like any other
        node = self._node(key, token_ids, cuts, parent.digest.copy(), turn)
        node.returned_ids = tuple(call.id for call in turn.calls)
        node.shown_ids = shown_ids
        return node

    def opening(self, node: PrefixNode) -> Opening:
        """Return the generation prompt behind a segment."""
        if node.opening is None:
            token_ids = self._opening_ids
            if node.cuts.would_cut(self._opening_chars):
                token_ids = self._opening_behind(node.cuts.copy())
            digest = node.digest.copy()
            digest.add(token_ids)
            node.opening = Opening(token_ids, digest.value())
        return node.opening

    def _opening_behind(self, cuts: TextCuts) -> tuple[int, ...]:
        writer = PromptWriter(self.vocabulary, cuts)
        write_generation_prompt(writer)
        return self._shared(writer.take())

    def _node(
        self,
        key: Hashable,
        token_ids: Sequence[int],
        cuts: TextCuts,
        digest: IdsDigest,
        turn: Turn | None = None,
    ) -> PrefixNode:
        digest.add(token_ids)
        texts = 0 if turn is None else turn.num_bytes
        num_bytes = _NODE_BYTES + _ID_BYTES * len(token_ids) + texts
        if turn is None:
            num_bytes += sum(map(sys.getsizeof, key if isinstance(key, tuple) else ()))
        return PrefixNode(key, self._shared(token_ids), cuts, digest, num_bytes)

    def _shared(self, token_ids: Sequence[int]) -> tuple[int, ...]:
        return tuple(map(self._numbers.__getitem__, token_ids))


class _ShownIds:
    """Passes the naming of ids on and keeps what calls were named."""

    def __init__(self, ids: NativeIds) -> None:
        self._ids = ids
        self.call_ids: list[str] = []

    def for_calls(self, message: Mapping[str, Any], where: str) -> list[str]:
        self.call_ids = self._ids.for_calls(message, where)
        return self.call_ids

    def for_result(self, message: Mapping[str, Any], where: str) -> str:
        return self._ids.for_result(message, where)
