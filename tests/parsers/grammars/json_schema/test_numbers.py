"""Number terminals against jsonschema, which reads doubles, and against exact arithmetic."""

import json
import math
from collections.abc import Callable
from decimal import Decimal
from fractions import Fraction
from typing import Any

import jsonschema
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sglang_kimi.parsers.grammars.json_schema.numbers import (
    NumberTerminal,
    number_format_bounds,
    number_terminal,
)

KEYWORDS = {
    "minimum": "minimum",
    "maximum": "maximum",
    "exclusive_minimum": "exclusiveMinimum",
    "exclusive_maximum": "exclusiveMaximum",
    "multiple_of": "multipleOf",
}
MIRRORS = {
    "minimum": "maximum",
    "maximum": "minimum",
    "exclusive_minimum": "exclusive_maximum",
    "exclusive_maximum": "exclusive_minimum",
}
NEAR = [
    0,
    1,
    -1,
    2,
    5,
    9,
    10,
    12,
    99,
    100,
    101,
    255,
    1000,
    -10,
    -100,
    2**31,
    2**53,
    2**63,
    -(2**63),
]
DOUBLES = [0.1, 0.5, 1.5, -0.25, 9.99, 10.0, 99.5, 0.001, 1e-7, 1e15, 1e20, -1e20, 1e300, 123.456]
# Where whole numbers stop being doubles, and where their shortest texts turn to exponents.
LARGE = [2**53 - 1, 2**53 + 1, 2.0**53, 2.0**53 + 2, 10**16, 1e16, -(2**53), -(2.0**53), 2.0**63]
bounds = st.sampled_from([*NEAR, *DOUBLES]) | st.integers(-2000, 2000) | st.sampled_from(LARGE)
bounds |= st.floats(allow_nan=False, allow_infinity=False)
whole_steps = st.sampled_from(
    [1, 2, 3, 4, 5, 6, 7, 8, 10, 12, 15, 16, 20, 25, 30, 50, 100, 125, 1000]
)
# Sums of powers of two: a validator that divides doubles finds what decimals say.
steps = whole_steps | st.sampled_from([0.5, 0.25, 2.5, 1.5, 0.125, 5.0, 0.75, 12.5])


@st.composite
def keywords(draw: st.DrawFn) -> dict[str, Any]:
    """Return arguments of number_terminal."""
    chosen: dict[str, Any] = {"is_integer": draw(st.booleans())}
    for name in ("minimum", "maximum", "exclusive_minimum", "exclusive_maximum"):
        if draw(st.integers(0, 2)) == 0:
            chosen[name] = draw(bounds)
    if draw(st.integers(0, 2)) == 0:
        # Beyond 2**53 a validator that divides doubles rounds the number itself.
        is_exact = all(abs(bound) < 2**52 for name, bound in chosen.items() if name != "is_integer")
        chosen["multiple_of"] = draw(steps if is_exact else whole_steps)
    return chosen


def validator_of(chosen: dict[str, Any]) -> jsonschema.Draft202012Validator:
    schema = {KEYWORDS[name]: value for name, value in chosen.items() if name in KEYWORDS}
    schema["type"] = "integer" if chosen["is_integer"] else "number"
    return jsonschema.Draft202012Validator(schema)


def is_finite(text: str) -> bool:
    return math.isfinite(float(text))


def candidate_texts(draw: Callable[..., Any], chosen: dict[str, Any]) -> list[str]:
    """Return numbers near the bounds, spelled as languages print them."""
    values = [value for name, value in chosen.items() if name in KEYWORDS] + [0]
    number = draw(st.sampled_from(values))
    shift = draw(st.sampled_from([0, 1, -1, 0.5, -0.5, 2, 0.001, -0.001, 10, 1000, -1000]))
    number = number + shift if isinstance(number, int) or abs(number) < 1e16 else number
    number = draw(st.sampled_from([number, -number, number * 2, number * 7]))
    if isinstance(number, float) and not math.isfinite(number):
        return []
    texts = [repr(number)]
    if isinstance(number, int):
        is_double = abs(number) < 1e60 and number == float(number)
        texts += [f"{number}.0"] if is_double else []
    else:
        texts += [f"{number:.1f}"] if number.is_integer() and abs(number) < 1e60 else []
        above = repr(math.nextafter(number, math.inf))
        texts += [str(math.floor(number))] if abs(number) < 1e60 else []
        texts += [above] if above != "inf" else []
    return texts


@settings(max_examples=120)
@given(st.data(), keywords())
def test_a_printed_number_passes_exactly_if_it_is_valid(
    compiled_terminal: Callable[[str], Any], data: st.DataObject, chosen: dict[str, Any]
) -> None:
    terminal = number_terminal(**chosen)
    validator = validator_of(chosen)
    texts = candidate_texts(data.draw, chosen)
    if terminal.is_empty:
        assert not any(
            is_written(text, chosen) and validator.is_valid(json.loads(text)) for text in texts
        )
        return
    compiled = compiled_terminal(terminal.expression)
    for text in texts:
        is_valid = validator.is_valid(json.loads(text))
        if compiled.accepts(text):
            assert is_valid or terminal.relaxed, (chosen, text)
        elif is_valid:
            assert not is_written(text, chosen), (chosen, text)


def is_written(text: str, chosen: dict[str, Any]) -> bool:
    """Return whether the module claims to write this spelling."""
    value = json.loads(text)
    if (value and abs(value) < 1e-300) or len(text) > 60:
        return False
    if "e" in text:
        is_bounded = any("imum" in name for name in chosen)
        return not (chosen["is_integer"] and is_bounded) and "multiple_of" not in chosen
    if chosen.get("multiple_of"):
        whole, _, fraction = text.lstrip("-").partition(".")
        if isinstance(chosen["multiple_of"], float) and abs(value) > 10**15:
            return False
        return abs(value) <= 2**53 if fraction.strip("0") == "" else len(whole + fraction) <= 15
    return True


NEXT_TO_2_53 = ["9007199254740992", "9007199254740994", "9007199254740996"]


@pytest.mark.parametrize("end", ["", ".0", ".000"])
@pytest.mark.parametrize("is_integer", [True, False])
@pytest.mark.parametrize(
    ("chosen", "valid"),
    [
        ({"minimum": 2.0**53}, NEXT_TO_2_53),
        ({"minimum": 2**53 + 1}, NEXT_TO_2_53[1:]),
        ({"exclusive_minimum": 2**53}, NEXT_TO_2_53[1:]),
        ({"maximum": 2.0**53 + 2}, NEXT_TO_2_53[:2]),
        ({"maximum": 2**53 + 3}, NEXT_TO_2_53[:2]),
        ({"exclusive_maximum": 2.0**53 + 2}, NEXT_TO_2_53[:1]),
        ({"minimum": 2**53, "maximum": 2**53 + 4, "multiple_of": 2}, NEXT_TO_2_53),
        ({"minimum": 2**53, "maximum": 2**53 + 4, "multiple_of": 4}, NEXT_TO_2_53[::2]),
    ],
)
def test_zeros_behind_the_point_change_no_double_beyond_2_to_the_53(
    compiled_terminal: Callable[[str], Any],
    chosen: dict[str, Any],
    valid: list[str],
    is_integer: bool,
    end: str,
) -> None:
    terminal = compiled_terminal(number_terminal(is_integer=is_integer, **chosen).expression)
    assert [text for text in NEXT_TO_2_53 if terminal.accepts(text + end)] == valid
    chosen = mirrored(chosen)
    terminal = compiled_terminal(number_terminal(is_integer=is_integer, **chosen).expression)
    assert [text for text in NEXT_TO_2_53 if terminal.accepts(f"-{text}{end}")] == valid


def mirrored(chosen: dict[str, Any]) -> dict[str, Any]:
    """Return keywords that hold for -x where the given ones hold for x."""
    bounds = {name: value for name, value in chosen.items() if name != "multiple_of"}
    others = {name: value for name, value in chosen.items() if name not in bounds}
    return others | {MIRRORS[name]: -value for name, value in bounds.items()}


@pytest.mark.parametrize("is_integer", [True, False])
@pytest.mark.parametrize(
    ("chosen", "text", "is_valid"),
    [
        ({"minimum": 2.0**63}, "9223372036854775808.0", True),
        ({"minimum": 2**63}, "9223372036854776000.0", True),
        ({"minimum": 2**63}, "9223372036854774784.0", False),
        ({"maximum": 2**63 - 1}, "9223372036854774784.0", True),
        ({"maximum": 2**63 - 1}, "9223372036854775807.0", False),
        ({"minimum": 2**53 + 1}, "9007199254740993", True),
        ({"minimum": 2**53 + 1}, "9007199254740993.0", False),
        ({"minimum": 2**53, "maximum": 2**53 + 3}, "9007199254740995", True),
        ({"minimum": 2**53, "maximum": 2**53 + 3}, "9007199254740995.0", False),
        ({"multiple_of": 3}, "9007199254740990.0", True),
        ({"multiple_of": 3}, "9007199254740991.0", False),
        ({"minimum": 2**53, "maximum": 2**53 + 8, "multiple_of": 3}, "9007199254740993", True),
        ({"minimum": 2**53, "maximum": 2**53 + 8, "multiple_of": 3}, "9007199254740993.0", False),
    ],
)
def test_with_a_point_the_double_counts_and_without_one_the_digits(
    compiled_terminal: Callable[[str], Any],
    chosen: dict[str, Any],
    text: str,
    is_valid: bool,
    is_integer: bool,
) -> None:
    chosen = {"is_integer": is_integer, **chosen}
    assert validator_of(chosen).is_valid(json.loads(text)) == is_valid
    assert compiled_terminal(number_terminal(**chosen).expression).accepts(text) == is_valid


@pytest.mark.parametrize("text", ["9.007199254740994e15", "9.007199254740994E+15", "1e16", "1e+16"])
def test_beyond_2_to_the_53_exponents_are_for_numbers(
    compiled_terminal: Callable[[str], Any], text: str
) -> None:
    for chosen in ({"minimum": 2.0**53 + 2}, {"exclusive_minimum": 2**53}, {"maximum": 1e16}):
        assert compiled_terminal(number_terminal(is_integer=False, **chosen).expression).accepts(
            text
        )
    above = number_terminal(is_integer=False, exclusive_minimum=1e16)
    assert not compiled_terminal(above.expression).accepts(text)


@pytest.mark.parametrize("exponent", [-20, -61, -63, -80])
@pytest.mark.parametrize("keyword", ["minimum", "maximum"])
def test_a_bound_with_zeros_behind_its_point_is_held(
    compiled_terminal: Callable[[str], Any], keyword: str, exponent: int
) -> None:
    number = float(f"7.797272588552611e{exponent}")
    for bound in (number, -number):
        chosen = {"is_integer": False, keyword: bound}
        terminal = compiled_terminal(number_terminal(**chosen).expression)
        validator = validator_of(chosen)
        near = [math.nextafter(bound, end) for end in (-1, 1)]
        for value in (0.0, bound, *near, bound * 10, bound / 10, bound * 1e3, 0.01, -0.01):
            for text in {repr(value), f"{Decimal(repr(value)):f}"}:
                if is_written(text, chosen):
                    assert terminal.accepts(text) == validator.is_valid(value), (chosen, text)


@settings(max_examples=80)
@given(st.integers(0, 2**32), keywords())
def test_whatever_is_written_at_random_is_valid_and_finite(
    compiled_terminal: Callable[[str], Any], seed: int, chosen: dict[str, Any]
) -> None:
    terminal = number_terminal(**chosen)
    if terminal.is_empty:
        return
    compiled = compiled_terminal(terminal.expression)
    for offset in range(5):
        text = compiled.walk(seed + offset)
        assert text is not None
        assert is_finite(text)
        assert terminal.relaxed or validator_of(chosen).is_valid(json.loads(text)), (chosen, text)


@settings(max_examples=120)
@given(keywords())
def test_samples_are_valid_and_pass(
    compiled_terminal: Callable[[str], Any], chosen: dict[str, Any]
) -> None:
    terminal = number_terminal(**chosen)
    assert terminal.is_empty == (not terminal.samples)
    if terminal.is_empty:
        return
    compiled = compiled_terminal(terminal.expression)
    for sample in terminal.samples:
        assert compiled.accepts(sample), (chosen, sample)
        assert validator_of(chosen).is_valid(json.loads(sample)), (chosen, sample)


@given(
    st.sampled_from(["0.01", "0.1", "0.05", "0.3", "1.1", "0.001", "2.25", "0.07"]),
    st.integers(-(10**9), 10**9),
    st.integers(0, 4),
)
def test_decimal_steps_are_held_as_decimals(
    compiled_terminal: Callable[[str], Any], step: str, count: int, num_places: int
) -> None:
    terminal = number_terminal(is_integer=False, multiple_of=float(step))
    sign = "-" if count < 0 else ""
    digits = f"{abs(count):0{num_places + 1}}"
    text = sign + digits[: len(digits) - num_places]
    if num_places:
        text += "." + digits[-num_places:]
    is_multiple = (Fraction(text) / Fraction(step)).denominator == 1
    if terminal.relaxed == ("multipleOf",) and not is_held(terminal):
        return
    assert compiled_terminal(terminal.expression).accepts(text) == is_multiple


def is_held(terminal: NumberTerminal) -> bool:
    return "&" in terminal.expression


@pytest.mark.parametrize(
    "text",
    [
        *(
            "0",
            "-0",
            "7",
            "-12",
            "1.0",
            "-3.000",
            "1e3",
            "1E+2",
            "15e0",
            "1.5e1",
            "2.50e1",
            "1e300",
        ),
        *("9" * 64, "1.25e17", "0.0", "3e00", "1.000e3"),
    ],
)
def test_a_free_integer_may_be_spelled_in_any_way(
    terminal_accepts: Callable[[str, str], bool], text: str
) -> None:
    assert terminal_accepts(number_terminal(is_integer=True).expression, text)
    assert terminal_accepts(number_terminal(is_integer=False).expression, text)


@pytest.mark.parametrize(
    "text", ["1.5", "1e-3", "1.25e1", "01", "+1", "1.", ".0", "1e", "9" * 65, "1e999"]
)
def test_what_is_no_integer_is_refused(
    terminal_accepts: Callable[[str, str], bool], text: str
) -> None:
    assert not terminal_accepts(number_terminal(is_integer=True).expression, text)


@pytest.mark.parametrize(
    "text",
    [
        *("1.7976931348623157e308", "1.7976931348623157e+308", "2.2250738585072014e-308"),
        *("5e-324", "1e-400", "12345.678E-7", "100e200", "0.001e10", "0e999"),
    ],
)
def test_a_free_number_reaches_to_the_ends_of_doubles(
    terminal_accepts: Callable[[str, str], bool], text: str
) -> None:
    assert terminal_accepts(number_terminal(is_integer=False).expression, text)


@pytest.mark.parametrize(
    "text", ["1.8e308", "1e309", "10e308", "-1e999", "NaN", "Infinity", "1e99999"]
)
def test_no_number_is_infinite(terminal_accepts: Callable[[str, str], bool], text: str) -> None:
    assert not terminal_accepts(number_terminal(is_integer=False).expression, text)


@pytest.mark.parametrize(
    "chosen",
    [
        {"is_integer": True, "minimum": 2, "maximum": 1},
        {"is_integer": True, "exclusive_minimum": 1, "exclusive_maximum": 2},
        {"is_integer": True, "minimum": 1.1, "maximum": 1.9},
        {"is_integer": False, "exclusive_minimum": 1, "maximum": 1},
        {"is_integer": False, "minimum": 0.1, "maximum": 0.4, "multiple_of": 0.5},
        {"is_integer": True, "minimum": 11, "maximum": 19, "multiple_of": 10},
        {"is_integer": False, "minimum": math.inf},
    ],
)
def test_bounds_between_which_nothing_lies_are_empty(chosen: dict[str, Any]) -> None:
    assert number_terminal(**chosen).is_empty


def test_a_multiple_too_large_for_an_expression_is_named() -> None:
    terminal = number_terminal(is_integer=True, minimum=0, multiple_of=1013)
    assert terminal.relaxed == ("multipleOf",)
    assert terminal.samples[0] == "0"


def test_few_multiples_are_held_however_odd(terminal_accepts: Callable[[str, str], bool]) -> None:
    terminal = number_terminal(is_integer=True, minimum=1, maximum=100_000, multiple_of=1013)
    assert terminal.relaxed == ()
    assert terminal_accepts(terminal.expression, str(1013 * 97))
    assert not terminal_accepts(terminal.expression, str(1013 * 97 + 1))
    assert not terminal_accepts(terminal.expression, "0")


@pytest.mark.parametrize("step", [0, -1, math.inf, math.nan])
def test_a_step_that_is_none_is_refused_by_name(step: float) -> None:
    with pytest.raises(ValueError, match="multiple_of: got"):
        number_terminal(is_integer=False, multiple_of=step)


def test_number_formats_are_bounds() -> None:
    assert number_format_bounds("int32") == (-(2**31), 2**31 - 1)
    assert number_format_bounds("uint8") == (0, 255)
    assert number_format_bounds("int64") == (-(2**63), 2**63 - 1)
    assert number_format_bounds("double") is None


def test_the_bounds_of_int64_are_exact(terminal_accepts: Callable[[str, str], bool]) -> None:
    expression = number_terminal(is_integer=True, minimum=-(2**63), maximum=2**63 - 1).expression
    assert terminal_accepts(expression, str(2**63 - 1))
    assert terminal_accepts(expression, str(-(2**63)))
    assert not terminal_accepts(expression, str(2**63))
    assert not terminal_accepts(expression, f"{2**63 - 1}.0")  # its double is 2**63
