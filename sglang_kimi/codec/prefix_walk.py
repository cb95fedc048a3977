"""One conversation's way through the cache of encoded prefixes, from its beginning on."""

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from . import messages as fields
from .exact_bytes import exact_bytes
from .ledger import Candidates, Ledger, LedgerEntry, Origin
from .message_images import kept_image
from .prefix_node import PrefixNode
from .same_turn import GeneratedTurn, read_complete, read_generated
from .shared_prefixes import SharedPrefixes
from .splice import continued, is_complete, num_thinking_tokens, spliced
from .tool_call_ids import NativeIds
from .turns import Turn, read_turn


@dataclass(frozen=True, slots=True)
class EncodedConversation:
    """A prompt and how it came about.

    token_ids:                    the prompt, the generation prompt included.
    digest:                       of `token_ids`, as the ledger records a turn by.
    history_call_ids:             ids of its calls in order, as the answer's parser needs them.
    num_spliced_tokens:           ids that were put back as they were generated.
    num_restored_thinking_tokens: those of them that are thinking which the client did not send.
    num_cached_tokens:            ids taken from the encoder's own cache, not tokenised again.
    place:                        where its answer belongs, None if that continues a message.
    """

    token_ids: list[int]
    digest: bytes
    history_call_ids: list[str]
    num_spliced_tokens: int
    num_restored_thinking_tokens: int
    num_cached_tokens: int
    place: "PrefixWalk | None"


class PrefixWalk:
    """The segments of a conversation so far; for one thread at a time."""

    def __init__(
        self,
        ledger: Ledger,
        prefixes: SharedPrefixes,
        tools: Sequence[Mapping[str, Any]] | None,
        origin: Origin,
    ) -> None:
        self._ledger, self._prefixes = ledger, prefixes
        self._cache, self._maker = prefixes.cache, prefixes.maker
        self._tools = tools
        self._origin = origin
        self._ids: NativeIds | None = None  # made at the first segment that has to be encoded
        self._num_new_tokens = 0
        self._path: list[PrefixNode] = []
        key = (origin.tenant, _tools_key(tools))
        node = self._cache.find(self._cache.root, key)
        if node is None:
            node = self._cache.add(self._cache.root, self._maker.declaration(key, tools))
            self._num_new_tokens = len(node.token_ids)
        self._path.append(node)

    def follow(self, images: Sequence[Any], start: int, end: int) -> int:
        """Go on behind the messages from `start` on whose images are those of last time.

        Returns the index of the first that is not, at most `end`. This is what a request of a known
        conversation does for almost all of its messages.
        """
        tenant, hint, find = self._origin.tenant, self._origin.hint, self._ledger.find
        last_child, append = self._cache.last_child, self._path.append
        node = self._path[-1]
        for index in range(start, end):
            child = last_child(node)
            if child is None or child.image is None or child.image != images[index]:
                return index
            if child.chosen is not None:
                opening = node.opening or self._maker.opening(node)
                candidates = find(tenant, opening.prompt_digest)
                if child.chosen != (0 if candidates is None else candidates.version, hint):
                    return index
            if self._ids is not None:
                child.replay(self._ids)
            append(child)
            node = child
        return max(start, end)

    def step(self, message: Mapping[str, Any], where: str, *, is_open: bool) -> Turn:
        """Go on behind a message and return its turn."""
        turn = read_turn(message, where)
        serial, candidates = 0, None
        if turn.role == "assistant":
            candidates = self._candidates()
            if candidates is not None:
                turn, serial = self._chosen(turn, candidates)
        key = (turn, serial, is_open)
        node = self._cache.find(self._path[-1], key)
        if node is not None:
            self._go_on(node)
        else:
            node = self._made(key, message, where, candidates)
            self._visit(node)
        if turn.role == "assistant":
            version = 0 if candidates is None else candidates.version
            self._path[-1].chosen = (version, self._origin.hint)
        return turn

    def keep_image(self, image: Any, turn: Turn) -> None:
        """Let the next message with an equal image be known as the last one of the path."""
        kept = kept_image(image, turn)
        if kept is not None:
            self._prefixes.replace_image(self._path[-1], *kept)

    def _made(
        self,
        key: tuple[Turn, int, bool],
        message: Mapping[str, Any],
        where: str,
        candidates: Candidates | None,
    ) -> PrefixNode:
        """Return the segment of a message that the cache does not hold."""
        turn, serial, is_open = key
        if candidates is not None and serial:
            entry = next(e for e in candidates.entries if e.serial == serial)
            node = self._put_back(key, entry, candidates)
            if node is not None:
                return node
        elif turn.role == "assistant" and candidates is None:
            self._ledger.count("misses")
        return self._maker.message(
            key,
            self._path[-1],
            message,
            where,
            turn,
            self._native_ids(),
            tenant=self._origin.tenant,
            is_open=is_open,
        )

    def finish(self, *, is_open: bool) -> EncodedConversation:
        """Return the prompt."""
        token_ids: list[int] = []
        call_ids: list[str] = []
        num_spliced = num_restored = 0
        entries: list[int] = []
        for node in self._path:
            token_ids += node.token_ids
            if node.shown_ids:
                call_ids += node.shown_ids
            if node.entry_serial:
                entries.append(node.entry_serial)
                num_spliced += node.num_spliced_tokens
                num_restored += node.num_restored_tokens
        last = self._path[-1]
        num_cached = len(token_ids) - self._num_new_tokens
        if is_open:
            self._expect_rest()
            digest = last.digest.value()
        else:
            opening = self._maker.opening(last)
            token_ids += opening.token_ids
            digest = opening.prompt_digest
        self._ledger.touch(entries)
        self._cache.use(last)
        self._leave_ids(last)
        return EncodedConversation(
            token_ids,
            digest,
            call_ids,
            num_spliced,
            num_restored,
            num_cached,
            None if is_open else self,
        )

    def place_answer(self, token_ids: Sequence[int]) -> None:
        """Read a recorded answer, and hold its segment as most clients will ask for it.

        The next prompt then finds both; whatever the client sends is compared all the same. A turn
        that was cut, or is not in the ledger any more, is left for then.
        """
        vocabulary = self._maker.vocabulary
        if max(token_ids) >= vocabulary.size or not is_complete(vocabulary, token_ids):
            return
        self._ledger.refresh()
        candidates = self._candidates()
        entry = None if candidates is None else candidates.entry_of(token_ids)
        if entry is None or candidates is None:
            return
        choices = self._prefixes.choices_behind(self._path[-1], candidates)
        if choices.generated(entry.serial) is not None:
            return
        history = self._native_ids().history
        generated, turn = read_complete(
            vocabulary, token_ids, tools=self._tools, history_call_ids=history
        )
        with self._prefixes.changing(self._path[-1], choices):
            choices.add_generated(entry.serial, generated)
        node = self._put_back((turn, entry.serial, False), entry, candidates)
        if node is not None:
            self._leave_ids(self._cache.add(self._path[-1], node))

    def _leave_ids(self, node: PrefixNode) -> None:
        """Leave the naming of ids to the next one who goes on behind a segment."""
        if self._ids is not None:
            self._prefixes.leave_ids(node, self._ids)
            self._ids = None

    def _expect_rest(self) -> None:
        """Let the answer be recorded as one turn with the message that it continues."""
        before, begun = self._path[-2:]
        opening = self._maker.opening(before)
        num_begun = len(begun.token_ids) - len(opening.token_ids)
        if begun.token_ids[: len(opening.token_ids)] == opening.token_ids:  # not under a name
            digest = begun.digest.value()
            self._ledger.expect_rest(self._origin.tenant, digest, opening.prompt_digest, num_begun)

    # Segments

    def _go_on(self, node: PrefixNode) -> None:
        """Go on behind a segment that the cache holds."""
        if self._ids is not None:
            node.replay(self._ids)
        self._path.append(node)

    def _visit(self, node: PrefixNode) -> None:
        self._num_new_tokens += len(node.token_ids)
        self._path.append(self._cache.add(self._path[-1], node))

    def _native_ids(self) -> NativeIds:
        """Return the naming of ids at the end of the path: the last one left there, brought up."""
        if self._ids is None:
            start = len(self._path)
            while self._ids is None and start:
                self._ids = self._prefixes.take_ids(self._path[start - 1])
                start -= self._ids is None
            self._ids = self._ids or NativeIds()
            for node in self._path[start:]:
                node.replay(self._ids)
        return self._ids

    # Turns generated here

    def _candidates(self) -> Candidates | None:
        opening = self._maker.opening(self._path[-1])
        return self._ledger.find(self._origin.tenant, opening.prompt_digest)

    def _chosen(self, turn: Turn, candidates: Candidates) -> tuple[Turn, int]:
        """Return the turn and the serial of the entry that it is.

        The serial is 0 if it is none or several may be meant.
        """
        choices = self._prefixes.choices_behind(self._path[-1], candidates)
        choice = choices.find(turn, self._origin.hint)
        if choice is None:
            serial = self._choose(turn, candidates)
            choice = (turn, serial)
            with self._prefixes.changing(self._path[-1], choices):
                choices.add(turn, self._origin.hint, serial)
        return choice

    def _choose(self, turn: Turn, candidates: Candidates) -> int:
        hint, entries = self._origin.hint, candidates.entries
        own = [entry for entry in entries if hint is not None and entry.hint == hint]
        # Two names that clients gave are two conversations: one's thinking must not become the
        # other's, not even where the own turn was put out and the look-alike is the only one left.
        possible = [entry for entry in entries if not self._origin.excludes(entry)]
        matches = self._matches(turn, own, candidates) or self._matches(turn, possible, candidates)
        if not matches:
            self._ledger.count("misses")
            return 0
        if len(matches) > 1:
            self._ledger.count("ambiguous")
            return 0
        self._ledger.count("hits")
        return matches[0].serial

    def _matches(
        self, turn: Turn, entries: Sequence[LedgerEntry], candidates: Candidates
    ) -> list[LedgerEntry]:
        """Return the first entry that the message is, and the first other one that it may be."""
        matches: list[LedgerEntry] = []
        for entry in entries:
            if matches and entry.token_ids == matches[0].token_ids:
                continue
            if self._generated(entry, candidates).is_returned_as(turn):
                matches.append(entry)
                if len(matches) > 1:
                    break
        return matches

    def _generated(self, entry: LedgerEntry, candidates: Candidates) -> GeneratedTurn:
        choices = self._prefixes.choices_behind(self._path[-1], candidates)
        held = choices.generated(entry.serial)
        if held is None:
            held = read_generated(
                self._maker.vocabulary,
                entry.token_ids,
                tools=self._tools,
                history_call_ids=self._native_ids().history,
            )
            with self._prefixes.changing(self._path[-1], choices):
                choices.add_generated(entry.serial, held)
        return held

    def _put_back(
        self,
        key: tuple[Turn, int, bool],
        entry: LedgerEntry,
        candidates: Candidates,
    ) -> PrefixNode | None:
        """Return the segment of a turn as it was generated; None if it cannot be left open."""
        turn, _, is_open = key
        put_back = continued if is_open else spliced
        closed = put_back(self._maker.vocabulary, entry.token_ids)
        if closed is None:
            return None
        token_ids, num_generated = closed
        shown_ids = self._generated(entry, candidates).call_ids
        node = self._maker.generated(key, self._path[-1], token_ids, turn, shown_ids)
        node.entry_serial = entry.serial
        node.num_spliced_tokens = num_generated
        if not turn.thinking.strip():
            node.num_restored_tokens = num_thinking_tokens(self._maker.vocabulary, entry.token_ids)
        ids = self._native_ids()
        node.replay(ids)
        node.next_index = ids.next_index
        return node


def _tools_key(tools: Sequence[Mapping[str, Any]] | None) -> Hashable:
    """Return a key that equal tools share; tools of unusual types are equal to none."""
    if tools is None or not fields.check_objects(tools, "tools"):
        return None
    try:
        return exact_bytes(tools)
    except ValueError:
        return object()
