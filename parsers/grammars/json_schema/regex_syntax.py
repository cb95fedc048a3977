"""The syntax of patterns: ECMA-262 with the u flag, and what Python's `re` adds and writers use.

Read leniently: `\\-` and other needless escapes, `(?P<name>...)`, `\\A`, `\\Z`, `{,3}` and flags at
the start pass. What the two dialects read in different ways beyond a class is refused.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from .chars import (
    DOT,
    SPACE,
    CharClass,
    Ranges,
    chars_of,
    digit_class,
    exactly,
    general_category,
    negate,
    normalise,
    union,
    unite,
    word_class,
)


class PatternError(ValueError):
    """The pattern is none, or uses what isn't read here; says what and where."""


@dataclass(frozen=True)
class OneOf:
    """One character of a class."""

    chars: CharClass


@dataclass(frozen=True)
class Sequence:
    """The parts one after the other."""

    parts: "tuple[Node, ...]"


@dataclass(frozen=True)
class Choice:
    """One of the parts."""

    parts: "tuple[Node, ...]"


@dataclass(frozen=True)
class Quantified:
    """The part `low` to `high` times; None: no limit. Lazy and greedy are the same to us."""

    part: "Node"
    low: int
    high: int | None


@dataclass(frozen=True)
class Beside:
    """A place whose neighbour is in the class, or, with `or_edge`, the edge of the text.

    ahead: the neighbour is the next character, else the one before. `^`, `$` and `(?!x)` are this.
    """

    chars: CharClass
    ahead: bool
    or_edge: bool


@dataclass(frozen=True)
class Look:
    """A place that the part matches from (ahead) or up to, or doesn't (negated)."""

    part: "Node"
    ahead: bool
    negated: bool


@dataclass(frozen=True)
class Backreference:
    """What a group has matched, once more."""


Node = OneOf | Sequence | Choice | Quantified | Beside | Look | Backreference

_NONE: Final = exactly(())
START: Final = Beside(_NONE, ahead=False, or_edge=True)
END: Final = Beside(_NONE, ahead=True, or_edge=True)
_CONTROLS: Final = {"t": 9, "n": 10, "v": 11, "f": 12, "r": 13}
_LONG_CATEGORIES: Final = {
    **{"Letter": "L", "Lowercase_Letter": "Ll", "Uppercase_Letter": "Lu", "Mark": "M"},
    **{"Number": "N", "Decimal_Number": "Nd", "Punctuation": "P", "Symbol": "S", "Separator": "Z"},
    **{"Other": "C", "Space_Separator": "Zs", "Alphabetic": "L"},
}
_LOOKS: Final = {  # whether ahead, whether negated
    "=": (True, False),
    "!": (True, True),
    "<=": (False, False),
    "<!": (False, True),
}
_MAX_COUNT: Final = 100_000
_MAX_FOLDED: Final = 3000


def parse(pattern: str) -> Node:
    """Return the tree of a pattern.

    Raises PatternError where it is none, or isn't read here.
    """
    return _Parser(pattern).parse()


class _Parser:
    def __init__(self, pattern: str) -> None:
        self._text = pattern
        self._at = 0
        self._flags = ""
        self._depth = 0

    def parse(self) -> Node:
        if self._text.startswith("(?") and (end := self._text.find(")")) > 2:
            flags = self._text[2:end]
            if set(flags) <= set("aimsu"):
                self._flags, self._at = flags, end + 1
        node = self._choice()
        if self._at < len(self._text):
            raise self._error("a ')' that closes nothing")
        return node

    def _error(self, what: str) -> PatternError:
        return PatternError(f"pattern {self._text!r}: {what} at position {self._at}")

    def _peek(self, text: str) -> bool:
        return self._text.startswith(text, self._at)

    def _take(self, text: str) -> bool:
        is_there = self._peek(text)
        self._at += len(text) if is_there else 0
        return is_there

    def _next(self) -> str:
        if self._at >= len(self._text):
            raise self._error("it ends too early")
        self._at += 1
        return self._text[self._at - 1]

    def _choice(self) -> Node:
        self._depth += 1
        if self._depth > 50:
            raise self._error("groups nested deeper than 50")
        parts = [self._sequence()]
        while self._take("|"):
            parts.append(self._sequence())
        self._depth -= 1
        return parts[0] if len(parts) == 1 else Choice(tuple(parts))

    def _sequence(self) -> Node:
        parts: list[Node] = []
        while self._at < len(self._text) and not self._peek("|") and not self._peek(")"):
            parts.append(self._quantified(self._atom()))
        return parts[0] if len(parts) == 1 else Sequence(tuple(parts))

    def _quantified(self, node: Node) -> Node:
        counts = self._counts()
        if counts is None:
            return node
        low, high = counts
        if self._take("+"):
            raise self._error("a possessive quantifier, which isn't read")
        self._take("?")  # lazy: the same strings
        if high is not None and high < low:
            raise self._error("a quantifier with its bounds the wrong way round")
        if max(low, high or 0) > _MAX_COUNT:
            raise self._error(f"a count above {_MAX_COUNT}")
        return Quantified(node, low, high)

    def _counts(self) -> tuple[int, int | None] | None:
        for sign, counts in (("*", (0, None)), ("+", (1, None)), ("?", (0, 1))):
            if self._take(sign):
                return counts
        end = self._text.find("}", self._at)
        if not self._peek("{") or end < 0:
            return None
        low, comma, high = self._text[self._at + 1 : end].partition(",")
        if not (low or high) or not all(part.isdecimal() for part in (low, high) if part):
            return None  # braces that count nothing are themselves
        if len(low) > 9 or len(high) > 9:
            raise self._error(f"a count above {_MAX_COUNT}")
        self._at = end + 1
        if not comma:
            return int(low), int(low)
        return int(low or 0), int(high) if high else None

    def _atom(self) -> Node:
        char = self._next()
        if char == "(":
            return self._group()
        if char == "[":
            return OneOf(self._set())
        if char == ".":
            return OneOf(negate(_NONE) if "s" in self._flags else DOT)
        if char in "^$":
            edge = START if char == "^" else END
            if "m" in self._flags:
                return Beside(exactly(chars_of("\n")), edge.ahead, True)
            return edge
        if char == "\\":
            return self._escape()
        if char in "*+?":
            raise self._error(f"a {char!r} that repeats nothing")
        return OneOf(self._folded(chars_of(char)))

    def _group(self) -> Node:
        look: tuple[bool, bool] | None = None
        if self._take("?"):
            for sign, look_kind in _LOOKS.items():
                if self._take(sign):
                    look = look_kind
                    break
            else:
                self._group_name()
        node = self._choice()
        if not self._take(")"):
            raise self._error("a group that isn't closed")
        return node if look is None else Look(node, *look)

    def _group_name(self) -> None:
        if self._take(":"):
            return
        end = self._text.find(">", self._at)
        if not (self._take("P<") or self._take("<")) or end < 0:
            raise self._error("a kind of group that isn't read")
        self._at = end + 1

    def _escape(self) -> Node:
        char = self._next()
        if char == "b" or char == "B":
            return _word_border(is_border=char == "b")
        if char == "A":
            return START
        if char in "zZ":
            return END
        if char == "k" or char in "123456789":
            while self._at < len(self._text) and char != "k" and self._text[self._at].isdecimal():
                self._at += 1
            if char == "k":
                self._group_name()
            return Backreference()
        return OneOf(self._class_escape(char))

    def _class_escape(self, char: str) -> CharClass:
        """Return the class of an escape that a set may hold too."""
        named: dict[str, Callable[[], CharClass]] = {
            "d": digit_class,
            "w": word_class,
            "s": lambda: SPACE,
        }
        if char.lower() in named:
            chars = named[char.lower()]()
            return chars if char.islower() else negate(chars)
        if char in "pP":
            chars = exactly(self._property())
            return chars if char == "p" else negate(chars)
        return self._folded(chars_of(chr(self._code_point(char))))

    def _code_point(self, char: str) -> int:
        if char in _CONTROLS:
            return _CONTROLS[char]
        if char == "0" and not self._text[self._at : self._at + 1].isdecimal():
            return 0
        if char == "c":
            letter = self._next()
            if not (letter.isascii() and letter.isalpha()):
                raise self._error("a control escape without a letter")
            return ord(letter) % 32
        if char in "xu":
            return self._hex(char)
        if char.isalnum():
            raise self._error(f"the escape '\\{char}', which isn't read")
        return ord(char)

    def _hex(self, char: str) -> int:
        if char == "u" and self._take("{"):
            end = self._text.find("}", self._at)
            digits = self._text[self._at : end] if end >= 0 else ""
            self._at = end + 1
        else:
            width = 2 if char == "x" else 4
            digits = self._text[self._at : self._at + width]
            self._at += width
            if len(digits) < width:
                digits = ""
        try:
            code = int(digits, 16) if digits.isalnum() else -1
        except ValueError:
            code = -1
        if not 0 <= code <= 0x10FFFF:
            raise self._error("a broken hex escape")
        if 0xD800 <= code <= 0xDBFF and self._peek("\\u"):
            begin = self._at
            self._at += 2
            low = self._hex("u")
            if 0xDC00 <= low <= 0xDFFF:
                return 0x10000 + ((code - 0xD800) << 10) + low - 0xDC00
            self._at = begin
        return code

    def _property(self) -> Ranges:
        end = self._text.find("}", self._at)
        if not self._take("{") or end < 0:
            raise self._error("a property without a name in braces")
        name = self._text[self._at : end]
        self._at = end + 1
        name = name.removeprefix("General_Category=").removeprefix("gc=")
        if name == "Any":
            return union(((0, 0x10FFFF),))
        if name == "ASCII":
            return ((0, 0x7F),)
        ranges = general_category(_LONG_CATEGORIES.get(name, name))
        if ranges is None:
            raise self._error(f"the property {name!r}, which isn't known here")
        return ranges

    def _set(self) -> CharClass:
        is_negated = self._take("^")
        found: list[CharClass] = []
        is_first = True
        while not self._take("]"):
            if self._peek("[") and self._text[self._at + 1 : self._at + 2] == ":":
                raise self._error("a POSIX class, which isn't read")
            found.append(self._set_item())
            is_first = False
        if is_first and self._text.find("]", self._at) >= 0:
            raise self._error("an empty set, which dialects read in different ways")
        chars = unite(found)
        return negate(chars) if is_negated else chars

    def _set_item(self) -> CharClass:
        first, code = self._set_char()
        if code is None or not self._peek("-") or self._text[self._at + 1 : self._at + 2] == "]":
            return first
        begin = self._at
        self._at += 1
        _, last = self._set_char()
        if last is None:
            self._at = begin  # [a-\d]: the '-' is itself
            return first
        if last < code:
            raise self._error("a range with its ends the wrong way round")
        return self._folded(normalise([(code, last)]))

    def _set_char(self) -> tuple[CharClass, int | None]:
        """Return a set's next element, and its code point if it is one character."""
        char = self._next()
        code: int | None = ord(char)
        if char == "\\":
            char = self._next()
            if char in "dDwWsSpP":
                return self._class_escape(char), None
            code = 8 if char == "b" else self._code_point(char)
        assert code is not None
        return self._folded(normalise([(code, code)])), code

    def _folded(self, ranges: Ranges) -> CharClass:
        if "i" not in self._flags:
            return exactly(ranges)
        if sum(last - first + 1 for first, last in ranges) > _MAX_FOLDED:
            raise self._error("a large range without regard to case")
        texts = [chr(code) for first, last in ranges for code in range(first, last + 1)]
        folded = {
            other
            for char in texts
            for other in (char, char.lower(), char.upper())
            if len(other) == 1
        }
        return exactly(chars_of("".join(sorted(folded))))


def _word_border(*, is_border: bool) -> Node:
    word, other = word_class(), negate(word_class())
    behind_word = Beside(word, ahead=False, or_edge=False)
    behind_other = Beside(other, ahead=False, or_edge=True)
    ahead_word = Beside(word, ahead=True, or_edge=False)
    ahead_other = Beside(other, ahead=True, or_edge=True)
    if is_border:
        ways = ((behind_word, ahead_other), (behind_other, ahead_word))
    else:
        ways = ((behind_word, ahead_word), (behind_other, ahead_other))
    return Choice(tuple(Sequence(way) for way in ways))
