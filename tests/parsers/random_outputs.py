"""Random outputs of a model: valid ones, valid ones damaged, and soup; with a request for each.

An output is a list of pieces: text, a marker, or raw bytes. `encode` makes token ids of it, with
tokens that split characters and markers spelt as ordinary tokens.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from random import Random
from typing import Any

from sglang_kimi.parsers.vocabulary import TokenVocabulary

from .fakes import (
    ARGUMENT,
    CALL,
    END,
    END_CALL,
    END_SECTION,
    END_THINK,
    EOS,
    SECTION,
    THINK,
    tool,
)

MARKERS = (
    *(THINK, END_THINK, SECTION, END_SECTION, CALL, ARGUMENT, END_CALL, END, EOS),
    *("<|im_user|>", "<|media_pad|>"),
)
RESERVED = "<|reserved_token_"  # the beginning of a reserved one's text
FORMAT_MARKERS = (THINK, END_THINK, SECTION, END_SECTION, CALL, ARGUMENT, END_CALL)

NAMES = (
    *("run", "run_all", "a:1", "a/b", "$web", "a@b.c", "mcp__x__do-it", "工具", "with space", "7"),
    *("functions.run", "🙂", "{x}", "é", "n" * 70),
)
# Whole strings and no half ones, so that no marker falls into an open JSON string.
FRAGMENTS = (
    *("functions.", "functions.run:0", "functions.a:1:0", "run", "run:1", "nope:7", "call_9", "3"),
    *('{"x": "1"}', "{}", '{"y": [1, "}"]}', '"{\\"x\\": 1}"', '"t"', "[1, ", "{", "}", "null"),
    *(" ", "\n", "text", "é", "漢", "🙂", "\u3000", "\ufeff", "\x00", ":", "y" * 600, "[", "]"),
    *("<", "</thi", "<|tool_calls_", "|>", "<think", "[EO", "[PAD]", "<|reserved_token_"),
)
BROKEN_FRAGMENTS = ('"', "\\", '{"x": "', '\\"', '"}', '" ', "\\u12")
BROKEN_BYTES = (b"\xf0\x9f", b"\x99", b"\xff", b"\xc3", b"\xe6\xbc", b"\xed\xa0\x80")
WORDS = ("I", "should", "look", "at", "naïve", "файл", "文件", "🙂👩‍💻", "x < y", "a[0]", "\t", "{")


@dataclass(frozen=True)
class Text:
    """Ordinary text."""

    text: str


@dataclass(frozen=True)
class Marker:
    """A control token."""

    text: str


@dataclass(frozen=True)
class Bytes:
    """Ordinary tokens of bytes that may be no UTF-8."""

    data: bytes


Piece = Text | Marker | Bytes


@dataclass(frozen=True)
class Case:
    """One output with its request; `cuts` are where a stream is cut, none: everywhere."""

    token_ids: tuple[int, ...]
    request: Mapping[str, Any]
    truncated: bool
    cuts: tuple[int, ...]


def random_case(random: Random, vocabulary: TokenVocabulary, encoder: "Encoder") -> Case:
    """Return the next case."""
    names = random.sample(NAMES, random.randint(0, 4))
    make: Callable[[], list[Piece]] = random.choices(
        [
            lambda: valid_output(random, names or ["run"]),
            lambda: damaged(random, valid_output(random, names or ["run"])),
            lambda: soup(random),
        ],
        [1, 4, 3],
    )[0]
    ids = [token_id for piece in make() for token_id in encoder.ids(random, piece)]
    if random.random() < 0.05:
        ids.insert(random.randint(0, len(ids)), random.choice([-1, vocabulary.size, 10**9]))
    if random.random() < 0.3:
        ids = ids[: random.randint(0, len(ids))]
    cuts = sorted(random.randint(0, len(ids)) for _ in range(random.choice([0, 1, 3, 12])))
    return Case(tuple(ids), random_request(random, names), random.random() < 0.4, tuple(cuts))


def random_request(random: Random, names: Sequence[str]) -> dict[str, Any]:
    """Return what a parser takes of a request."""
    tools = [
        tool(name, *random.sample("xyz", random.randint(0, 2)), optional=random.sample("uvw", 1))
        for name in names
    ]
    choices: list[Any] = ["auto", "auto", "auto", "required", "none", None]
    if names:
        choices.append({"type": "function", "function": {"name": names[0]}})
    histories: list[Any] = [0, 2, ["functions.run:0", "call_x", "functions.run:3"]]
    return {
        "tools": random.choice([tools, tools, tools, None]),
        "tool_choice": random.choice(choices),
        "history_call_ids": random.choice(histories),
        "starts_in_thinking": random.random() < 0.8,
    }


def valid_output(random: Random, names: Sequence[str]) -> list[Piece]:
    """Return an output as a good model writes it."""
    pieces: list[Piece] = [Text(_prose(random)), Marker(END_THINK), Text(_prose(random))]
    index = random.choice([0, 0, 1, 5])
    for _ in range(random.choice([0, 1, 1, 2])):
        pieces.append(Marker(SECTION))
        for _ in range(random.randint(1, 3)):
            written = f"functions.{random.choice(names)}:{index}"
            pieces += [Marker(CALL), Text(written), Marker(ARGUMENT)]
            pieces += [Text(_arguments(random)), Marker(END_CALL)]
            index += 1
        pieces.append(Marker(END_SECTION))
        if random.random() < 0.2:
            pieces.append(Text(_prose(random)))
    return [*pieces, Marker(random.choice([END, END, END, EOS]))]


def damaged(random: Random, pieces: list[Piece]) -> list[Piece]:
    """Return pieces with some lost, doubled, exchanged, cut or put in between."""
    pieces = list(pieces)
    for _ in range(random.randint(1, 4)):
        place = random.randrange(len(pieces))
        match random.randrange(6):
            case 0:
                pieces[place : place + 1] = []
            case 1:
                pieces.insert(place, pieces[place])
            case 2:
                pieces.insert(place, Marker(random.choice(MARKERS)))
            case 3:
                other = random.randrange(len(pieces))
                pieces[place], pieces[other] = pieces[other], pieces[place]
            case 4:
                pieces[place : place + 1] = _broken(random, pieces[place])
            case _:
                pieces.insert(place, _soup_piece(random))
        if not pieces:
            break
    return pieces


def soup(random: Random) -> list[Piece]:
    """Return pieces without any order."""
    return [_soup_piece(random) for _ in range(random.randint(0, 25))]


def _soup_piece(random: Random) -> Piece:
    kind = random.random()
    if kind < 0.45:
        return Marker(random.choice(FORMAT_MARKERS))
    if kind < 0.5:
        return Marker(random.choice([*MARKERS, RESERVED]))
    if kind < 0.85:
        return Text(random.choice(FRAGMENTS))
    if kind < 0.93:
        return Text(random.choice(BROKEN_FRAGMENTS))
    if kind < 0.97:
        return Text(random.choice(MARKERS))  # only looks like one
    return Bytes(random.choice(BROKEN_BYTES))


def _broken(random: Random, piece: Piece) -> list[Piece]:
    """Return a piece cut in two around something else; of a text one half may be lost."""
    if not isinstance(piece, Text):
        return [piece, _soup_piece(random)]
    data = piece.text.encode()
    place = random.randint(0, len(data))
    between = [] if random.random() < 0.5 else [_soup_piece(random)]
    tail = [] if random.random() < 0.5 else [Bytes(data[place:])]
    return [Bytes(data[:place]), *between, *tail]


def _prose(random: Random) -> str:
    return random.choice(["", " ", "\n"]) + " ".join(random.choices(WORDS, k=random.randint(0, 6)))


def _arguments(random: Random) -> str:
    value: Any = {
        random.choice("xyzuvw"): random.choice(
            [1, -1.5e300, None, True, _prose(random), '"\\/<|', {"k": [_prose(random), []]}, [{}]]
        )
        for _ in range(random.randint(0, 3))
    }
    ascii_only = random.random() < 0.5
    text = json.dumps(value, ensure_ascii=ascii_only, indent=random.choice([None, None, 2]))
    kind = random.random()
    if kind < 0.1:
        return json.dumps(text, ensure_ascii=ascii_only)
    if kind < 0.2:
        return random.choice(["", " ", "\n"]) + text + random.choice(["", " ", "\n\n"])
    if kind < 0.25:
        return random.choice(["", "null", "[1]", "ls -l", '"t"', "[" * 50])
    return text


class Encoder:
    """Token ids for pieces: each run of bytes in any tokens of the vocabulary that spell it."""

    _MAX_TOKEN_BYTES = 8

    def __init__(self, vocabulary: TokenVocabulary) -> None:
        self._vocabulary = vocabulary
        self._reserved = [
            token_id
            for token_id in range(vocabulary.num_ranks, vocabulary.size)
            if (vocabulary.control_text(token_id) or "").startswith(RESERVED)
        ]
        self._ids = {data: token_id for token_id, data in enumerate(vocabulary.ordinary_tokens)}

    def ids(self, random: Random, piece: Piece) -> list[int]:
        """Return the ids of one piece."""
        match piece:
            case Marker(text) if text == RESERVED:
                return [random.choice(self._reserved)]
            case Marker(text):
                return [self._vocabulary.control_id(text)]
            case Text(text):
                return self._ordinary(random, text.encode())
            case Bytes(data):
                return self._ordinary(random, data)

    def _ordinary(self, random: Random, data: bytes) -> list[int]:
        ids, start = [], 0
        while start < len(data):
            end = min(len(data), start + random.randint(1, self._MAX_TOKEN_BYTES))
            while data[start:end] not in self._ids:  # a single byte is a token always
                end -= 1
            ids.append(self._ids[data[start:end]])
            start = end
        return ids
