"""Random walks of a grammar over tokens of several bytes; other spellings of what they wrote."""

import copy
import json
import random
from functools import cache
from typing import Any

from .spellings import escape
from .tool_schemas import NAMES, VALUES

PIECES = (
    *('","', '": "', '":"', '{"', '"}', '": ', "  ", "\n    ", "123", "the", "true", "false"),
    *("null", "},{", "[[", "}}", ":0", ' "', "é", "日本", "\\n", "\\u", "ud83d", "d8", "1e", "e+"),
    *("name", "kind", "ab", "foo", "], [", "0.5", "2024-", ".0", '"a"', '"b":', "00"),
)
CLOSERS = [*'"}],:0123456789', "null", "true", "false", *"tfn{[ -.abcdefghijklmnopqrstuvwxyz"]


class Tokens:
    """All bytes and some pieces that cross the borders of JSON's elements, in llguidance's form."""

    tokens = (*(bytes([byte]) for byte in range(256)), *(p.encode() for p in PIECES), b"\xff[end]")
    eos_token_id = len(tokens) - 1
    bos_token_id = None
    special_token_ids = (eos_token_id,)

    def __call__(self, data: bytes | str) -> list[int]:
        return list(data.encode() if isinstance(data, str) else data)


@cache
def vocabulary() -> Any:
    from llguidance import LLTokenizer, TokenizerWrapper

    return LLTokenizer(TokenizerWrapper(Tokens()), slices=[])


class Walker:
    """A grammar over the small vocabulary."""

    def __init__(self, text: str) -> None:
        from llguidance import LLMatcher

        self._matcher = LLMatcher(vocabulary(), LLMatcher.grammar_from_lark(text), log_level=0)
        assert not self._matcher.is_error(), f"{self._matcher.get_error()}\n{text}"
        self._ids = {token: token_id for token_id, token in enumerate(Tokens.tokens)}

    def accepts(self, text: str) -> bool:
        matcher = self._matcher.deep_copy()
        data = list(text.encode())
        taken = matcher.try_consume_tokens(data)
        assert not matcher.is_error(), matcher.get_error()
        return bool(taken == len(data) and matcher.is_accepting())

    def walk(self, rng: random.Random, num_free: int, num_tokens: int) -> str | None:
        """Choose uniformly over the mask for num_free tokens, then go for the end.

        Returns None if it takes more than num_tokens.
        """
        matcher = self._matcher.deep_copy()
        data = b""
        for count in range(num_tokens):
            bias = matcher.compute_logit_bias()
            assert not matcher.is_error(), matcher.get_error()
            allowed = [token_id for token_id in range(Tokens.eos_token_id) if bias[token_id]]
            if matcher.is_accepting() and (not allowed or count >= num_free or rng.random() < 0.2):
                return data.decode()
            assert allowed, f"nothing may follow {data!r}"
            chosen = rng.choice(allowed)
            if count >= num_free and rng.random() < 0.9:
                closers = (self._ids[closer.encode()] for closer in CLOSERS)
                chosen = next((closer for closer in closers if bias[closer]), chosen)
            data += Tokens.tokens[chosen]
            assert matcher.consume_token(chosen), matcher.get_error()
        return None


class Number(str):
    """A number's text, kept as it was spelled."""


def read(text: str) -> Any:
    return json.loads(text, parse_int=Number, parse_float=Number)


def spell_string(rng: random.Random, text: str) -> str:
    """Return a spelling of a string, some characters escaped without need."""
    found = []
    for char in text:
        usual = json.dumps(char, ensure_ascii=False)[1:-1]
        found.append(rng.choice([usual, usual, escape(char), escape(char, is_upper=True)]))
    return f'"{"".join(found)}"'


def spell(rng: random.Random, value: Any, indent: str | None, depth: int = 0) -> str:
    """Return a value as JSON, keys in any order, compact or indented."""
    if isinstance(value, Number):
        return str(value)
    if isinstance(value, str):
        return spell_string(rng, value)
    if not isinstance(value, dict | list) or not value:
        return json.dumps(value)
    blank = "" if indent is None else "\n" + indent * (depth + 1)
    end = "" if indent is None else "\n" + indent * depth
    if isinstance(value, list):
        parts = [spell(rng, item, indent, depth + 1) for item in value]
        return f"[{','.join(blank + part for part in parts)}{end}]"
    colon = ":" if indent is None else rng.choice([": ", " : ", ":"])
    items = list(value.items())
    rng.shuffle(items)
    parts = [f"{spell_string(rng, k)}{colon}{spell(rng, v, indent, depth + 1)}" for k, v in items]
    return f"{{{','.join(blank + part for part in parts)}{end}}}"


def places(value: Any) -> list[Any]:
    """Return every container within a value."""
    inner = (
        list(value.values())
        if isinstance(value, dict)
        else value
        if isinstance(value, list)
        else []
    )
    return ([value] if isinstance(value, dict | list) else []) + [
        p for v in inner for p in places(v)
    ]


def changed(rng: random.Random, value: Any) -> Any:
    """Return a value with one small change somewhere."""
    value = copy.deepcopy(value)
    containers = places(value)
    if not containers:
        return rng.choice(VALUES)
    place = rng.choice(containers)
    if isinstance(place, list):
        action = rng.choice(["add", "remove", "change"])
        if action == "add" or not place:
            place.insert(rng.randint(0, len(place)), rng.choice([*VALUES, *place]))
        elif action == "remove":
            place.pop(rng.randrange(len(place)))
        else:
            place[rng.randrange(len(place))] = rng.choice(VALUES)
    elif place and rng.random() < 0.5:
        del place[rng.choice(list(place))]
    else:
        place[rng.choice([*NAMES, *place, "next", "other", "x9"])] = rng.choice(VALUES)
    return value
