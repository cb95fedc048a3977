"""Regular expressions of schemas as xgrammar takes them: always matching the whole string."""

from typing import Final

# What a JSON string holds without an escape: xgrammar's pattern strings have no escapes.
_ANY: Final = r'[^"\\\x00-\x1f]*'
DATE: Final = (
    r"^(000[1-9]|00[1-9]\d|0[1-9]\d\d|[1-9]\d\d\d)-((0[13578]|1[02])-(0[1-9]|[12]\d|3[01])"
    r"|(0[469]|11)-(0[1-9]|[12]\d|30)|02-(0[1-9]|1\d|2[0-8]))$"
)
"""Every date of the calendar but 29 February."""
_BYTE: Final = r"(25[0-5]|2[0-4]\d|1\d\d|[1-9]?\d)"
IPV4: Final = rf"^({_BYTE}\.){{3}}{_BYTE}$"


def whole_pattern(
    pattern: str, min_length: int | None = None, max_length: int | None = None
) -> str | None:
    """Return a pattern that matches a whole string where `pattern` is found in it.

    Lengths go into the quantifier of a pattern that is one repeated class (`^[a-z]+$`), else they
    are lost. Returns None for a pattern that can't be written so (a NUL, an unbalanced bracket).
    """
    branches = _alternatives(pattern)
    if branches is None or "\x00" in pattern or r"\0" in pattern or r"\u0000" in pattern:
        return None
    if len(branches) == 1 and (min_length is not None or max_length is not None):
        counted = _counted_class(branches[0], min_length, max_length)
        if counted is not None:
            return counted
    return "^(" + "|".join(_whole_branch(branch) for branch in branches) + ")$"


def _whole_branch(branch: str) -> str:
    is_start = branch.startswith("^")
    is_end = branch.endswith("$") and not _is_escaped(branch, len(branch) - 1)
    body = branch[1 if is_start else 0 : len(branch) - 1 if is_end else len(branch)]
    return ("" if is_start else _ANY) + (f"({body})" if body else "") + ("" if is_end else _ANY)


def _is_escaped(text: str, index: int) -> bool:
    num_backslashes = len(text[:index]) - len(text[:index].rstrip("\\"))
    return num_backslashes % 2 == 1


def _alternatives(pattern: str) -> list[str] | None:
    """Split at the top level's `|`; None if brackets don't match."""
    branches, depth, start = [], 0, 0
    is_class = False
    index = 0
    while index < len(pattern):
        char = pattern[index]
        if char == "\\":
            index += 1
        elif is_class:
            is_class = char != "]"
        elif char == "[":
            is_class = True
        elif char in "()":
            depth += 1 if char == "(" else -1
        elif char == "|" and depth == 0:
            branches.append(pattern[start:index])
            start = index + 1
        index += 1
    if depth or is_class:
        return None
    return [*branches, pattern[start:]]


def _counted_class(pattern: str, min_length: int | None, max_length: int | None) -> str | None:
    """Return `^class{m,n}$` for `^class+$` or `^class*$` with lengths, None for other patterns."""
    body, quantifier = pattern[1:-2], pattern[-2:-1]
    if not (pattern.startswith("^") and pattern.endswith("$") and quantifier in ("+", "*")):
        return None
    is_class = body.startswith("[") and body.find("]", 2) == len(body) - 1
    is_escape = len(body) == 2 and body[0] == "\\" and body[1].isalpha()
    if not is_class and not is_escape:
        return None
    least = max(min_length or 0, 1 if quantifier == "+" else 0)
    return f"^{body}{{{least},{'' if max_length is None else max_length}}}$"
