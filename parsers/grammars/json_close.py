"""The shortest way out of a JSON text: tokens that bring its grammar to an end.

Greedy, so short but not proven shortest: what the grammar forces, then texts that are known to
complete something, then closing characters. Where greed finds nothing a few seeded random walks
are tried. Every walk goes over a copy.
"""

import json
import random
import re
from collections.abc import Iterable
from typing import Any, NamedTuple

from .json_schema import SchemaGrammar
from .json_text_state import OUTSIDE, TextState
from .masks import MaskVocabulary

_BLANKS = b" \t\r\n"
_CLOSERS = (b"}", b"]", b",", b":")
_NUMBER_ENDS = (
    *(b"5", b"0", b"1", b"2", b"3", b"4", b"6", b"7", b"8", b"9", b"00", b"25", b"50", b"75"),
    *(b"e9", b"e99", b"e-1", b"e-9", b"e-99", b"-9"),
)
"""What may bring a begun number into its bounds, or to a multiple; exponents end many decimals."""
_VALUES = (
    *(b"0", b'""', b"null", b"true", b"false", b"[]", b"{}", b"1", b"2", b"3", b"4", b"5", b"6"),
    *(b"7", b"8", b"9", b'"', b"{", b"[", b"-", b".", b"e", b"n", b"t", b"f"),
)
_IN_NUMBER = frozenset(b"%c" % byte for byte in b"0123456789.+-eE")
_OPEN_ESCAPE = re.compile(rb"\\(u[0-9a-fA-F]{0,3})?\Z")
_MAX_STEPS = 1024
_MAX_TEXTS = 64

Tokens = list[int]


class Texts(NamedTuple):
    """What is worth a try, as tokens; the first that fits is taken.

    after_value, after_colon, elsewhere: outside of strings. closers: what may follow a number.
    number_ends: what may end a begun one. objects: of short instances the
    members, each as `"key":value`. hints: texts of whole strings.
    """

    closers: list[Tokens]
    number_ends: list[Tokens]
    after_value: list[Tokens]
    after_colon: list[Tokens]
    elsewhere: list[Tokens]
    objects: list[list[Tokens]]
    hints: list[bytes]


class CloseFinder:
    """Finds closes for one grammar."""

    def __init__(self, masks: MaskVocabulary, written: SchemaGrammar) -> None:
        self._masks = masks
        self._stop_id = masks.stop_ids[0]
        self._texts = _texts(masks, written)

    def is_close(self, matcher: Any, tokens: tuple[int, ...]) -> bool:
        """Return whether the tokens end the matcher's text."""
        return bool(matcher.validate_tokens([*tokens, self._stop_id]) == len(tokens) + 1)

    def find(
        self, matcher: Any, tail: bytes, place: TextState = OUTSIDE, *, num_walks: int = 2
    ) -> tuple[int, ...] | None:
        """Return tokens that end the text, without a stop token; None if no end is found.

        matcher: an LLMatcher, left as it came. tail: what the string that `place` stands in holds
        so far; outside of strings the last byte that is no blank. num_walks: how many random walks
        to try when the greedy way finds no end.
        """
        for walk in range(num_walks + 1):
            rng = random.Random(walk) if walk else None
            found = _Walk(self._masks, self._texts, matcher.deep_copy(), place, tail, rng).run()
            if found is not None:
                return tuple(found)
        return None


def _texts(masks: MaskVocabulary, written: SchemaGrammar) -> Texts:
    # Keys of short instances are required ones: without them an object may go on for ever.
    wholes = "".join([written.shortest or "", *written.instances])
    hints = sorted(written.hints, key=lambda hint: (f"{hint}:" not in wholes, len(hint), hint))
    ends = [hint.encode() for hint in hints if hint.startswith('"')]
    keys = [hint.encode() for hint in hints][:_MAX_TEXTS]
    wholes_first = [text.encode() for text in written.instances]
    # A short string may be a key that leads nowhere, where a declared one is wanted.
    no_strings = [text for text in wholes_first if not text.startswith(b'"')]

    def tokens(*texts: bytes) -> list[Tokens]:
        return [masks.tokens(text) for text in dict.fromkeys(texts)]

    objects = [members(text) for text in (*written.instances, written.shortest or "")]
    return Texts(
        objects=[tokens(*texts) for texts in objects if texts],
        closers=tokens(*_CLOSERS),
        number_ends=tokens(*_NUMBER_ENDS),
        after_value=tokens(*_CLOSERS, *_VALUES),
        after_colon=tokens(*wholes_first, *keys, *_VALUES, *_CLOSERS),
        elsewhere=tokens(*_CLOSERS, *no_strings, *keys, *_VALUES),
        hints=ends,
    )


def members(text: str) -> list[bytes]:
    """Return the members of a compact JSON object, each as `"key":value`; none of another value."""
    decode = json.JSONDecoder().raw_decode
    found, start = [], 1
    while text.startswith("{") and start < len(text) - 1:
        _, end = decode(text, start)
        _, end = decode(text, end + 1)
        found.append(text[start:end].encode())
        start = end + 1
    return found


def _unescaped(text: bytes) -> bytes:
    """Return a string's begun text as the hints spell it: only what JSON must escape is."""
    if b"\\" not in text:
        return text
    try:
        return json.dumps(json.loads(b'"' + text + b'"'), ensure_ascii=False).encode()[1:-1]
    except ValueError:  # it ends within an escape or a character
        return text


class _Walk:
    """One way out, over a copy of its own."""

    def __init__(
        self,
        masks: MaskVocabulary,
        texts: Texts,
        matcher: Any,
        place: TextState,
        tail: bytes,
        rng: random.Random | None,
    ) -> None:
        self._masks = masks
        self._texts = texts
        self._matcher = matcher
        self._place = place
        self._tail = tail
        self._rng = rng
        self._found: Tokens = []
        self._spent: set[int] = set()

    def run(self) -> Tokens | None:
        for _ in range(_MAX_STEPS):
            if self._matcher.is_accepting():
                return self._found
            if not self._step():
                return None
        return None

    def _step(self) -> bool:
        forced = self._matcher.compute_ff_bytes()
        if forced:
            return self._take(self._masks.tokens(forced))
        if self._place.is_string:
            return self._step_in_string()
        if self._tail in (b"{", b"[", b",", b""):
            return self._close_object() or self._take_new() or self._any_step()
        if self._tail in _IN_NUMBER and self._close_number():
            return True
        after_colon = self._tail == b":"
        texts = self._texts.after_colon if after_colon else self._texts.after_value
        return self._take_first(texts) or self._any_step()

    def _close_object(self) -> bool:
        """Take the missing members of a short instance and the brace, if that ends an object."""
        comma, brace = self._masks.tokens(b","), self._masks.tokens(b"}")
        for texts in self._texts.objects:
            found: Tokens = []
            for member in texts:
                longer = [*found, *comma, *member] if found else member
                if self._matcher.validate_tokens(longer) == len(longer):
                    found = longer
            if found and self._take([*found, *brace]):
                return True
        return False

    def _close_number(self) -> bool:
        """Take what follows a whole number, or what makes a begun one whole."""
        if self._take_first(self._texts.closers):
            return True
        follow = [*self._texts.closers, [self._masks.stop_ids[0]]]
        for end in self._texts.number_ends:
            for closer in follow:
                whole = [*end, *closer]
                if self._matcher.validate_tokens(whole) == len(whole):
                    return self._take(end)
        return False

    def _take_new(self) -> bool:
        """Take a text that wasn't taken here before: an undeclared key may come again and again."""
        for index, token_ids in enumerate(self._texts.elsewhere):
            if index not in self._spent and self._take(token_ids):
                if token_ids not in self._texts.after_value:
                    self._spent.add(index)
                return True
        return self._take_first(self._texts.elsewhere)

    def _step_in_string(self) -> bool:
        begun = b'"' + _unescaped(self._tail)
        hints = self._texts.hints
        rests = [b'"', *(hint[len(begun) :] for hint in hints if hint.startswith(begun))]
        rests += [hint[1:] for hint in hints[:_MAX_TEXTS]]
        tokens = (self._masks.tokens(rest) for rest in rests if rest)
        fillers = ([token_id] for token_id in self._masks.fillers)
        orders = (fillers, tokens) if _OPEN_ESCAPE.search(self._tail) else (tokens, fillers)
        return any(map(self._take_first, orders)) or self._any_step()

    def _take_first(self, choices: Iterable[Tokens]) -> bool:
        if self._rng is not None:
            choices = list(choices)
            self._rng.shuffle(choices)
        return any(map(self._take, choices))

    def _take(self, token_ids: Tokens) -> bool:
        """Take all of these tokens or none of them."""
        if self._matcher.validate_tokens(token_ids) != len(token_ids):
            return False
        if self._matcher.try_consume_tokens(token_ids) != len(token_ids):
            return False
        for token_id in token_ids:
            data = self._masks.token_bytes[token_id]
            self._place = self._place.after(data)
            if self._place.is_string:
                num_bytes = self._place.num_bytes
                self._tail = (self._tail + data)[-num_bytes:] if num_bytes else b""
            else:
                self._tail = data.rstrip(_BLANKS)[-1:] or self._tail[-1:]
        self._found += token_ids
        return True

    def _any_step(self) -> bool:
        """Take the shortest of all allowed tokens: rare text, such as a pattern's letters."""
        import numpy as np

        mask = np.frombuffer(self._matcher.compute_bitmask(), dtype=np.uint8)
        allowed = np.flatnonzero(np.unpackbits(mask, bitorder="little")).tolist()
        ordinary = [i for i in allowed if i < self._masks.num_ranks]
        if self._rng is not None and ordinary:
            return self._take([self._rng.choice(ordinary)])
        return any(self._take([i]) for i in sorted(ordinary, key=self._cost)[:1])

    def _cost(self, token_id: int) -> tuple[bool, int]:
        data = self._masks.token_bytes[token_id]
        return not data.strip(_BLANKS), len(data)
