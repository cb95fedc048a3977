"""What the bytes of a JSON text are, beyond what a schema grammar checks.

xgrammar holds the syntax; this automaton knows where in the JSON text the output stands (between
elements, in a number, in a string, in an escape, inside a character) and refuses what xgrammar
lets through: bytes that are no UTF-8, raw control characters in strings, lone surrogate escapes
(`\\ud800`) and exponents that overflow a double. It counts runs of blanks and digits too, so that
a caller can bound them. It knows neither schema nor nesting, and no token ids.
"""

from typing import Final, NamedTuple

BLANKS: Final = b" \t\r\n"
DIGITS: Final = b"0123456789"

# 160 blanks indent by four to a depth of forty; longer runs never carry meaning.
MAX_BLANKS: Final = 160
# Longer than any int64 or double; Python refuses integers of more than 4300 digits.
MAX_DIGITS: Final = 64

REFUSED: Final = 0
OUTSIDE: Final = 1
NUMBER: Final = 2
STRING: Final = 3
_NAMES: Final = (
    *("refused", "outside", "number", "string", "exponent", "exponent+", "exponent+1"),
    *("exponent+2", "exponent-", "exponent-1", "exponent-2", "exponent-3", "escape", "u", "u3"),
    *("u2", "u1", "ud", "high2", "high1", "high", "high\\", "high\\u", "high\\ud", "tail1"),
    *("tail2", "tail3", "tail E0", "tail ED", "tail F0", "tail F4"),
)
NUM_STATES: Final = len(_NAMES)
_STATE: Final = {name: number for number, name in enumerate(_NAMES)}
_HEX: Final = b"0123456789abcdefABCDEF"


class Position(NamedTuple):
    """Where a JSON text stands: automaton state, and the runs that end here."""

    state: int = OUTSIDE
    num_blanks: int = 0
    num_digits: int = 0


START: Final = Position()


def advance(position: Position, data: bytes) -> Position:
    """Return the position after `data`; its state is REFUSED if the bytes break a rule."""
    state = position.state
    for byte in data:
        state = TABLE[state][byte]
    num_blanks = num_digits = 0
    if state == OUTSIDE:
        num_blanks = len(data) - len(data.rstrip(BLANKS))
        if num_blanks == len(data):
            num_blanks += position.num_blanks
    elif state == NUMBER:
        num_digits = len(data) - len(data.rstrip(DIGITS))
        if num_digits == len(data):
            num_digits += position.num_digits
    return Position(state, num_blanks, num_digits)


def _fill(row: list[int], selected: bytes, target: str) -> None:
    for byte in selected:
        row[byte] = _STATE[target]


def _span(first: int, last: int) -> bytes:
    return bytes(range(first, last + 1))


def _outside_row() -> list[int]:
    row = [OUTSIDE] * 0x80 + [REFUSED] * 0x80
    _fill(row, DIGITS + b"-", "number")
    _fill(row, b'"', "string")
    return row


def _string_row() -> list[int]:
    row = [REFUSED] * 0x20 + [STRING] * 0x60 + [REFUSED] * 0x80
    _fill(row, b'"', "outside")
    _fill(row, b"\\", "escape")
    _fill(row, _span(0xC2, 0xDF), "tail1")
    _fill(row, _span(0xE1, 0xEF), "tail2")
    _fill(row, _span(0xF1, 0xF3), "tail3")
    # Overlong forms, surrogates and what lies above U+10FFFF show in the byte after these.
    for lead in (0xE0, 0xED, 0xF0, 0xF4):
        row[lead] = _STATE[f"tail {lead:X}"]
    return row


def _number_rows() -> dict[str, list[int]]:
    rows: dict[str, list[int]] = {}

    def add(name: str, *edges: tuple[bytes, str]) -> None:
        rows[name] = _outside_row()
        _fill(rows[name], DIGITS, "refused")
        for selected, target in edges:
            _fill(rows[name], selected, target)

    add("number", (DIGITS + b".", "number"), (b"eE", "exponent"))
    add("exponent", (DIGITS, "exponent+1"), (b"+", "exponent+"), (b"-", "exponent-"))
    # 64 digits and e+99 stay far below the largest double; a small number may need e-308.
    add("exponent+", (DIGITS, "exponent+1"))
    add("exponent+1", (DIGITS, "exponent+2"))
    add("exponent+2")
    add("exponent-", (DIGITS, "exponent-1"))
    add("exponent-1", (DIGITS, "exponent-2"))
    add("exponent-2", (DIGITS, "exponent-3"))
    add("exponent-3")
    return rows


def _string_part_rows() -> dict[str, list[int]]:
    """Escapes (a high surrogate must be followed by the escape of a low one) and characters."""
    low, high = b"01234567", b"89abAB"
    tail = _span(0x80, 0xBF)
    edges: dict[str, tuple[tuple[bytes, str], ...]] = {
        "escape": ((b'"\\/bfnrt', "string"), (b"u", "u")),
        "u": ((_HEX, "u3"), (b"dD", "ud")),
        "ud": ((low, "u2"), (high, "high2")),
        "u3": ((_HEX, "u2"),),
        "u2": ((_HEX, "u1"),),
        "u1": ((_HEX, "string"),),
        "high2": ((_HEX, "high1"),),
        "high1": ((_HEX, "high"),),
        "high": ((b"\\", "high\\"),),
        "high\\": ((b"u", "high\\u"),),
        "high\\u": ((b"dD", "high\\ud"),),
        "high\\ud": ((b"cdefCDEF", "u2"),),
        "tail1": ((tail, "string"),),
        "tail2": ((tail, "tail1"),),
        "tail3": ((tail, "tail2"),),
        "tail E0": ((_span(0xA0, 0xBF), "tail1"),),
        "tail ED": ((_span(0x80, 0x9F), "tail1"),),
        "tail F0": ((_span(0x90, 0xBF), "tail2"),),
        "tail F4": ((_span(0x80, 0x8F), "tail2"),),
    }
    rows = {}
    for name, pairs in edges.items():
        rows[name] = [REFUSED] * 256
        for selected, target in pairs:
            _fill(rows[name], selected, target)
    return rows


def _table() -> tuple[tuple[int, ...], ...]:
    rows = {"refused": [REFUSED] * 256, "outside": _outside_row(), "string": _string_row()}
    rows |= _number_rows()
    rows |= _string_part_rows()
    return tuple(tuple(rows[name]) for name in _NAMES)


TABLE: Final = _table()
"""[NUM_STATES, 256]: the state after each byte."""
