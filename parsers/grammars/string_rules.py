"""Repairs to the strings in the grammar text that xgrammar makes of a schema.

A string with a `minLength` may hold no escape in xgrammar's form, so that no text with a newline
or a quote could be written; here escapes count as one character. Rules that don't have the form
known from xgrammar 0.2.7 stay as they are, and a test fails.
"""

import re
from typing import Final

_COUNTED: Final = re.compile(
    r'^(?P<rule>\w+) ::= \(\("\\"" (?P<chars>\w+)\{(?P<least>\d+), -1\} "\\""\)\)$'
)
_LOOKAHEAD: Final = r"(=([ \n\r\t]* [,}\]:]))"
_CHARACTER: Final = r"[^\0-\x1f\"\\]"
# Surrogate escapes are left out: two of them are one character.
_ESCAPE_RULE: Final = (
    r"counted_escape ::= (([\"\\/bfnrt]) "
    r'| ("u" [0-9A-CE-Fa-ce-f] [A-Fa-f0-9] [A-Fa-f0-9] [A-Fa-f0-9]) '
    r'| ("u" [dD] [0-7] [A-Fa-f0-9] [A-Fa-f0-9]))'
)
# A counted place costs some 40 ms to compile; xgrammar's own counted class is cheap but plain.
_MAX_ESCAPED: Final = 4


def allow_escapes(ebnf: str) -> str:
    """Return xgrammar's EBNF with strings of a minLength that take escapes."""
    lines: list[str] = []
    for line in ebnf.splitlines():
        found = _COUNTED.match(line)
        lines += [line] if found is None else _string_rules(found)
    if "counted_escape" in "".join(lines):
        lines.append(_ESCAPE_RULE)
    return "\n".join(lines) + "\n"


def _string_rules(found: re.Match[str]) -> list[str]:
    rule, least = found["rule"], int(found["least"])
    num_escaped = min(least, _MAX_ESCAPED)
    rules = [rf'{rule} ::= (("\"" {rule}_length_0))']
    for place in range(num_escaped):
        rest = f"{rule}_length_{place + 1}"
        if place + 1 == num_escaped:
            rest = "basic_string_sub"
            if least > num_escaped:
                rest = f"{found['chars']}{{{least - num_escaped}, {least - num_escaped}}} {rest}"
        rules.append(
            rf'{rule}_length_{place} ::= (({_CHARACTER} {rest}) | ("\\" counted_escape {rest}))'
            f" {_LOOKAHEAD}"
        )
    return rules
