"""Format patterns against Python's own parsers and jsonschema's checkers, both ways."""

import base64
import datetime
import ipaddress
import re
import uuid

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sglang_kimi.parsers.grammars.json_schema.formats import FORMAT_PATTERNS

CHECKER = jsonschema.Draft202012Validator.FORMAT_CHECKER
CHECKED = sorted(set(FORMAT_PATTERNS) & set(CHECKER.checkers))


def is_match(name: str, text: str) -> bool:
    return re.fullmatch(FORMAT_PATTERNS[name][1:-1], text) is not None


def texts_of(name: str) -> st.SearchStrategy[str]:
    """Return a strategy of texts that a pattern takes."""
    return st.from_regex(FORMAT_PATTERNS[name][1:-1], fullmatch=True)


@pytest.mark.parametrize("name", CHECKED)
def test_whatever_a_pattern_takes_passes_the_checker_of_its_format(name: str) -> None:
    @given(texts_of(name))
    def check(text: str) -> None:
        assert CHECKER.conforms(text, name), text

    check()


@pytest.mark.parametrize("name", FORMAT_PATTERNS)
def test_every_pattern_is_anchored_and_has_no_lookaround(name: str) -> None:
    pattern = FORMAT_PATTERNS[name]
    assert pattern.startswith("^")
    assert pattern.endswith("$")
    assert "(?" not in pattern


@given(st.dates())
def test_every_date_of_the_calendar_passes(date: datetime.date) -> None:
    assert is_match("date", date.isoformat())


@given(st.integers(0, 9999), st.integers(0, 13), st.integers(0, 32))
def test_a_date_passes_exactly_if_it_is_in_the_calendar(year: int, month: int, day: int) -> None:
    text = f"{year:04}-{month:02}-{day:02}"
    try:
        datetime.date.fromisoformat(text)
    except ValueError:
        assert not is_match("date", text)
    else:
        assert is_match("date", text)


def test_every_29th_of_february_is_in_a_leap_year() -> None:
    for year in range(1, 10000):
        is_leap = year % 4 == 0 and (year % 100 != 0 or year % 400 == 0)
        assert is_match("date", f"{year:04}-02-29") == is_leap


@given(st.datetimes(timezones=st.timezones() | st.just(datetime.UTC)))
def test_every_time_with_an_offset_passes(moment: datetime.datetime) -> None:
    offset = moment.utcoffset()
    if offset is not None and offset.total_seconds() % 60 == 0:
        assert is_match("date-time", moment.isoformat())
        assert is_match("time", moment.isoformat().split("T")[1])
        assert is_match("date-time", moment.isoformat().replace("+00:00", "Z"))


@given(texts_of("date-time"))
def test_python_reads_every_date_time_that_passes(text: str) -> None:
    # Python keeps six digits of a second and knows only capital letters.
    text = re.sub(r"\.(\d{1,6})\d*", r".\1", text.upper())
    assert datetime.datetime.fromisoformat(text).tzinfo is not None


@pytest.mark.parametrize(
    "text",
    [
        *("2024-01-01", "2024-01-01T10:00:00", "2024-01-01 10:00:00Z", "2024-01-01T24:00:00Z"),
        *("2024-01-01T10:60:00Z", "2024-01-01T10:00:00+24:00", "2024-01-01T10:00:00.Z"),
        *("2024-06-31T10:00:00Z", "2023-02-29T10:00:00Z", "2024-01-01T10:00Z"),
    ],
)
def test_what_is_no_moment_is_refused(text: str) -> None:
    assert not is_match("date-time", text)


@given(st.ip_addresses(v=4))
def test_every_ipv4_address_passes(address: ipaddress.IPv4Address) -> None:
    assert is_match("ipv4", str(address))


@pytest.mark.parametrize("text", ["093.0.0.1", "1.2.3", "1.2.3.4.5", "256.1.1.1", "1.2.3.4 ", ""])
def test_what_is_no_ipv4_address_is_refused(text: str) -> None:
    assert not is_match("ipv4", text)


@given(st.ip_addresses(v=6))
def test_every_ipv6_address_passes_however_it_is_spelt(address: ipaddress.IPv6Address) -> None:
    low = ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    for text in (str(address), address.exploded, address.exploded.upper()):
        assert is_match("ipv6", text)
    assert is_match("ipv6", f"{address.exploded[:30]}{low}")


@given(
    st.lists(st.sampled_from(["", "0", "1f", "ABCD", "12345", "1.2.3.4"]), max_size=10).map(
        ":".join
    )
)
def test_a_text_of_colons_passes_exactly_if_python_reads_it(text: str) -> None:
    try:
        ipaddress.IPv6Address(text)
    except ValueError:
        assert not is_match("ipv6", text)
    else:
        assert is_match("ipv6", text)


@given(st.uuids())
def test_every_uuid_passes(value: uuid.UUID) -> None:
    assert is_match("uuid", str(value))
    assert is_match("uuid", str(value).upper())
    assert not is_match("uuid", value.hex)


@given(st.binary())
def test_base64_passes_and_only_as_it_is_written(data: bytes) -> None:
    text = base64.b64encode(data).decode()
    assert is_match("byte", text)
    assert not is_match("byte", text + "=")


@given(texts_of("byte"))
def test_python_reads_every_base64_text_that_passes(text: str) -> None:
    assert base64.b64encode(base64.b64decode(text, validate=True)).decode() == text


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("email", "a@b.c"),
        ("email", "first.last+tag@sub.example-host.co.uk"),
        ("email", "x" * 64 + "@example.com"),
        ("idn-email", "名前@例え.jp"),
        ("hostname", "localhost"),
        ("hostname", "a-b.example.com"),
        ("hostname", "xn--bcher-kva.example"),
        ("hostname", "a-bucket-with-a-really-long-name-in-it.s3.eu-west-1.amazonaws.com"),
        ("hostname", f"{'a' * 63}.{'b' * 63}.{'c' * 63}"),
        ("idn-hostname", "bücher.example"),
        ("idn-hostname", "例え.テスト"),
        ("time", "10:20:30Z"),
        ("time", "23:59:59.999+05:30"),
        ("duration", "P1Y2M3DT4H5M6S"),
        ("duration", "PT36H"),
        ("duration", "P4W"),
        ("uri", "https://user:pw@example.com:8080/a/b%20c?x=1&y=2#frag"),
        ("uri", "http://[2001:db8::1]:80/"),
        ("uri", "http://[::ffff:1.2.3.4]"),
        ("uri", "mailto:John.Doe@example.com"),
        ("uri", "urn:isbn:0451450523"),
        ("uri", "file:///etc/hosts"),
        ("uri-reference", "../a/b?c#d"),
        ("uri-reference", "//example.com/x"),
        ("uri-reference", ""),
        ("uri-reference", "#top"),
        ("iri", "https://例え.jp/引き?割=り#り"),
        ("iri-reference", "/ƒøø"),
        ("uri-template", "https://x.org/{user}/items{?page,size*}{/path:3}"),
        ("json-pointer", ""),
        ("json-pointer", "/a~0b/~1/é\n/0"),
        ("relative-json-pointer", "2/a/b"),
        ("relative-json-pointer", "0#"),
        ("date-time", "2024-02-29t10:00:00.123456z"),
    ],
)
def test_a_usual_text_passes(name: str, text: str) -> None:
    assert is_match(name, text)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("email", "a.b"),
        ("email", "@example.com"),
        ("email", "a..b@example.com"),
        ("email", "a@-b.com"),
        ("email", "a b@example.com"),
        ("email", "x" * 65 + "@example.com"),
        ("hostname", ""),
        ("hostname", "-a.com"),
        ("hostname", "a-.com"),
        ("hostname", "a..b"),
        ("hostname", "under_score.com"),
        ("hostname", "a" * 64),
        ("idn-hostname", "xn--x"),
        ("time", "10:20:30"),
        ("time", "10:20Z"),
        ("duration", "P"),
        ("duration", "PT"),
        ("duration", "P1YT"),
        ("duration", "P1W2D"),
        ("duration", "P1Y3D"),
        ("duration", "1Y"),
        ("uri", "/relative"),
        ("uri", "http://a b"),
        ("uri", "http://a/%zz"),
        ("uri", "http://[1::2::3]/"),
        ("uri", "http://例え.jp"),
        ("uri", "1http://x"),
        ("uri-reference", "a b"),
        ("uri-reference", "1:2"),
        ("iri", "http://a<b"),
        ("uri-template", "{a"),
        ("uri-template", "{a b}"),
        ("json-pointer", "a"),
        ("json-pointer", "/~2"),
        ("relative-json-pointer", "01"),
        ("relative-json-pointer", "/a"),
        ("uuid", "2eb8aa08-aa98-11ea-b4aa-73b441d1638"),
        ("byte", "YQ="),
        ("byte", "YR=="),
    ],
)
def test_a_broken_text_is_refused(name: str, text: str) -> None:
    assert not is_match(name, text)


@given(texts_of("hostname"))
def test_no_hostname_is_longer_than_dns_takes(text: str) -> None:
    assert len(text) <= 253
    assert all(len(label) <= 63 for label in text.split("."))


@given(texts_of("email"))
def test_no_address_is_longer_than_mail_takes(text: str) -> None:
    assert len(text) <= 254
    assert len(text.split("@")[0]) <= 64
