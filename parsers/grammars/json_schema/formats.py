"""String formats as patterns over the decoded text, exact enough for the strictest validators.

A pattern takes what the format's RFC and the validators in use (Python's parsers among them) all
take: no leap second and no year 0000, which RFC 3339 allows and most parsers refuse. The patterns
are plain ECMA: groups, classes and counts, no lookaround, anchored at both ends.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

__all__ = ["FORMAT_PATTERNS"]

# RFC 3339
_YEAR: Final = "(000[1-9]|00[1-9][0-9]|0[1-9][0-9]{2}|[1-9][0-9]{3})"
_LEAP_YEAR: Final = (
    "([0-9]{2}(0[48]|[2468][048]|[13579][26])|(0[48]|[2468][048]|[13579][26])00)"  # not 0000
)
_DATE: Final = (
    f"({_YEAR}-((0[13578]|1[02])-(0[1-9]|[12][0-9]|3[01])"
    "|(0[469]|11)-(0[1-9]|[12][0-9]|30)|02-(0[1-9]|1[0-9]|2[0-8]))"
    f"|{_LEAP_YEAR}-02-29)"
)
_HOUR_MINUTE: Final = "([01][0-9]|2[0-3]):[0-5][0-9]"
_TIME: Final = rf"{_HOUR_MINUTE}:[0-5][0-9](\.[0-9]{{1,9}})?([Zz]|[+-]{_HOUR_MINUTE})"
# RFC 3339, appendix A; the digits are bounded so that the numbers fit 64 bits.
_COUNT: Final = "[0-9]{1,18}"
_SECONDS: Final = f"{_COUNT}S"
_MINUTES: Final = f"{_COUNT}M({_SECONDS})?"
_CLOCK: Final = f"T({_COUNT}H({_MINUTES})?|{_MINUTES}|{_SECONDS})"
_DAYS: Final = f"{_COUNT}D"
_MONTHS: Final = f"{_COUNT}M({_DAYS})?"
_CALENDAR: Final = f"({_COUNT}Y({_MONTHS})?|{_MONTHS}|{_DAYS})"
_DURATION: Final = f"P({_CALENDAR}({_CLOCK})?|{_CLOCK}|{_COUNT}W)"

# RFC 1123: labels of up to 63 characters, 253 in all: ten short labels, or a long one before
# nine short ones, or three long ones.
_SHORT_LABEL: Final = "[A-Za-z0-9]([A-Za-z0-9-]{0,22}[A-Za-z0-9])?"
_LABEL: Final = "[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
_TINY_LABEL: Final = "[A-Za-z0-9]([A-Za-z0-9-]{0,18}[A-Za-z0-9])?"
_HOSTNAME: Final = (
    rf"({_SHORT_LABEL}(\.{_SHORT_LABEL}){{0,9}}|{_LABEL}(\.{_TINY_LABEL}){{0,9}}"
    rf"|{_LABEL}(\.{_LABEL}){{1,2}})"
)
# RFC 5892: blocks in which every character may stand in a label, wherever it stands. A label of 13
# such characters stays under 63 as punycode; no two hyphens in a row, so that none poses as one.
_IDN_LETTERS: Final = (
    "\u00e0-\u00f6\u00f8-\u00ff\u03b1-\u03c9\u0430-\u044f"
    "\u3041-\u3096\u30a1-\u30fa\u4e00-\u9fa5\uac00-\ud7a3"
)
_IDN_CHAR: Final = f"[a-z0-9{_IDN_LETTERS}]"
_IDN_LABEL: Final = f"{_IDN_CHAR}(-?{_IDN_CHAR}){{0,6}}|{_IDN_CHAR}{{1,13}}"
_LOWER_LABEL: Final = "[a-z0-9](-?[a-z0-9]){0,30}"
_IDN_HOSTNAME: Final = rf"({_LOWER_LABEL}|{_IDN_LABEL})(\.({_LOWER_LABEL}|{_IDN_LABEL})){{0,2}}"

# RFC 5321, without quoted names; the name has up to 64 characters, the address up to 254.
_ATOM: Final = "[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]"
_LOCAL_PART: Final = (
    rf"({_ATOM}{{1,64}}|{_ATOM}{{1,32}}(\.{_ATOM}{{1,15}}){{1,2}}"
    rf"|{_ATOM}{{1,10}}(\.{_ATOM}{{1,8}}){{3,6}})"
)
_MAIL_DOMAIN: Final = (
    rf"({_SHORT_LABEL}(\.{_SHORT_LABEL}){{0,6}}|{_LABEL}(\.{_TINY_LABEL}){{0,5}}"
    rf"|{_LABEL}\.{_LABEL})"
)
_EMAIL: Final = f"{_LOCAL_PART}@{_MAIL_DOMAIN}"
_IDN_ATOM: Final = "[A-Za-z0-9!#$%&'*+/=?^_`{|}~\u00a1-\ud7ff\uf900-\ufdcf\ufdf0-\uffef-]"
_IDN_EMAIL: Final = rf"{_IDN_ATOM}{{1,20}}(\.{_IDN_ATOM}{{1,20}}){{0,2}}@{_IDN_HOSTNAME}"

# RFC 2673, RFC 4291
_BYTE: Final = "(25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])"
_IPV4: Final = rf"({_BYTE}\.){{3}}{_BYTE}"
_HEX: Final = "[0-9A-Fa-f]"
_WORD: Final = f"{_HEX}{{1,4}}"
_LAST_32_BITS: Final = f"({_WORD}:{_WORD}|{_IPV4})"


def _ipv6() -> str:
    """All eight words, or `::` for one word or more: at most seven words are written then."""
    forms = [f"({_WORD}:){{6}}{_LAST_32_BITS}"]
    for num_behind in range(8):
        num_before = 7 - num_behind
        head = f"({_WORD}(:{_WORD}){{0,{num_before - 1}}})?" if num_before else ""
        if num_behind >= 2:
            tail = f"({_WORD}:){{{num_behind - 2}}}{_LAST_32_BITS}"
        else:
            tail = _WORD * num_behind
        forms.append(f"{head}::{tail}")
    return f"({'|'.join(forms)})"


_IPV6: Final = _ipv6()

# RFC 3986, RFC 3987 (`ucschar` and `iprivate`)
_UNRESERVED: Final = "A-Za-z0-9._~-"
_SUB_DELIMS: Final = "!$&'()*+,;="
_ESCAPED: Final = f"%{_HEX}{{2}}"
_UCS: Final = "\u00a0-\ud7ff\uf900-\ufdcf\ufdf0-\uffef" + "".join(
    f"{chr(plane << 16)}-{chr((plane << 16) + 0xFFFD)}" for plane in range(1, 14)
)
_UCS_ALL: Final = _UCS + f"{chr(0xE1000)}-{chr(0xEFFFD)}"
_PRIVATE: Final = f"\ue000-\uf8ff{chr(0xF0000)}-{chr(0xFFFFD)}{chr(0x100000)}-{chr(0x10FFFD)}"


def _resource_identifier(letters: str, private: str, *, is_reference: bool) -> str:
    """Return the pattern of a URI; with `letters` and `private` beyond ASCII, of an IRI."""

    def some_of(more: str) -> str:
        return f"([{_SUB_DELIMS}{letters}{more}{_UNRESERVED}]|{_ESCAPED})"

    char = some_of(":@")
    host = rf"(\[({_IPV6}|[Vv]{_HEX}+\.[{_SUB_DELIMS}:{_UNRESERVED}]+)\]|{some_of('')}*)"
    authority = f"//({some_of(':')}*@)?{host}(:[0-9]*)?(/{char}*)*"
    rooted = f"/({char}+(/{char}*)*)?"
    rest = rf"(\?{some_of(':@/?' + private)}*)?(#{some_of(':@/?')}*)?"
    whole = f"[A-Za-z][A-Za-z0-9+.-]*:({authority}|{rooted}|{char}+(/{char}*)*)?"
    if not is_reference:
        return whole + rest
    return f"({whole}|{authority}|{rooted}|{some_of('@')}+(/{char}*)*)?{rest}"


# RFC 6570, without the operators that it keeps for later
_NAME_CHAR: Final = f"([A-Za-z0-9_]|{_ESCAPED})"
_VARIABLE: Final = rf"{_NAME_CHAR}(\.?{_NAME_CHAR})*(:[1-9][0-9]{{0,3}}|\*)?"
_LITERAL: Final = rf"([!#$&()*+,./0-9:;=?@A-Z\[\]_a-z~{_UCS_ALL}{_PRIVATE}-]|{_ESCAPED})"
_URI_TEMPLATE: Final = rf"({_LITERAL}|\{{[+#./;?&]?{_VARIABLE}(,{_VARIABLE})*\}})*"

# RFC 6901
_POINTER: Final = "(/([^/~]|~[01])*)*"

# RFC 4648, section 4, with the bits behind the end at zero
_BASE64: Final = "([A-Za-z0-9+/]{4})*([A-Za-z0-9+/][AQgw]==|[A-Za-z0-9+/]{2}[AEIMQUYcgkosw048]=)?"


def _whole(pattern: str) -> str:
    return f"^{pattern}$"


FORMAT_PATTERNS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "date": _whole(_DATE),
        "time": _whole(_TIME),
        "date-time": _whole(f"{_DATE}[Tt]{_TIME}"),
        "duration": _whole(_DURATION),
        "email": _whole(_EMAIL),
        "idn-email": _whole(_IDN_EMAIL),
        "hostname": _whole(_HOSTNAME),
        "idn-hostname": _whole(_IDN_HOSTNAME),
        "ipv4": _whole(_IPV4),
        "ipv6": _whole(_IPV6),
        "uri": _whole(_resource_identifier("", "", is_reference=False)),
        "uri-reference": _whole(_resource_identifier("", "", is_reference=True)),
        "iri": _whole(_resource_identifier(_UCS_ALL, _PRIVATE, is_reference=False)),
        "iri-reference": _whole(_resource_identifier(_UCS_ALL, _PRIVATE, is_reference=True)),
        "uri-template": _whole(_URI_TEMPLATE),
        "uuid": _whole(f"{_HEX}{{8}}-({_HEX}{{4}}-){{3}}{_HEX}{{12}}"),
        "json-pointer": _whole(_POINTER),
        "relative-json-pointer": _whole(f"(0|[1-9][0-9]{{0,17}})(#|{_POINTER})"),
        "byte": _whole(_BASE64),
        "base64": _whole(_BASE64),
    }
)
"""Pattern of each format that a grammar holds; `regex` and unknown formats are absent."""
