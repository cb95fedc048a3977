"""Whether a JSON text satisfies what of its schema the grammar could not hold.

Only those keywords are looked at: the others are held already. The work is bounded, as it is done
on the serving loop: within the time given, without a network, and with patterns that cannot run on
without end. Imports nothing of SGLang.
"""

import json
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from contextvars import ContextVar
from functools import cache
from textwrap import shorten
from typing import Any, Final

from sglang_kimi.parsers.grammars.json_schema.modern import modern

MAX_SECONDS: Final = 0.05
"""Time that one text may take."""

_MAX_SHOWN: Final = 200  # characters of jsonschema's own words, which show the value
_SINGLE: Final = (
    *("items", "contains", "additionalProperties", "propertyNames", "not", "if", "then", "else"),
    *("unevaluatedItems", "unevaluatedProperties"),
)
_LISTED: Final = ("allOf", "anyOf", "oneOf", "prefixItems")
_NAMED: Final = ("properties", "patternProperties", "$defs", "definitions", "dependentSchemas")

_deadline: ContextVar[float] = ContextVar("schema_deadline")


class NotCheckedError(Exception):
    """The text could not be checked: says why."""


def first_miss(schema: Any, keywords: Collection[str], text: str) -> tuple[str, str] | None:
    """Return the keyword that a text breaks first and how, None where it breaks none.

    schema: as declared, of any edition. keywords: those that are looked at. A text that is no JSON
    was cut and is not looked at. Raises NotCheckedError where time, a reference to another document
    or an unreadable pattern keep the schema from being checked.
    """
    try:
        value = json.loads(text)
    except ValueError:
        return None
    _validator_class()  # imports are no part of the time
    token = _deadline.set(time.perf_counter() + MAX_SECONDS)
    try:
        return _search(schema, keywords, value)
    except RecursionError:
        raise NotCheckedError("it is nested too deeply") from None
    finally:
        _deadline.reset(token)


def _search(schema: Any, keywords: Collection[str], value: Any) -> tuple[str, str] | None:
    from referencing import Registry
    from referencing.exceptions import Unresolvable

    validator = _validator_class()(
        _modernized(schema),
        registry=Registry(),  # a plain one fetches nothing
        format_checker=_validator_class().FORMAT_CHECKER,
    )
    try:
        for error in validator.iter_errors(value):
            if (keyword := _keyword(error, keywords)) is not None:
                place = "".join(f"/{part}" for part in error.absolute_path) or "/"
                return keyword, f"{keyword} at {place}: {shorten(error.message, _MAX_SHOWN)}"
    except Exception as error:
        if isinstance(error, NotCheckedError | RecursionError):
            raise
        if isinstance(error, Unresolvable):
            raise NotCheckedError("it refers to another document") from None
        raise NotCheckedError(f"its check failed: {shorten(str(error), _MAX_SHOWN)}") from None
    return None


def _keyword(error: Any, keywords: Collection[str]) -> str | None:
    """Return the keyword of interest that an error is about, or that one within it is about."""
    if error.validator in keywords:
        return str(error.validator)
    found = (_keyword(inner, keywords) for inner in error.context or ())
    return next((keyword for keyword in found if keyword is not None), None)


def _modernized(schema: Any) -> Any:
    """Return a schema in the words of the newest edition, on all its levels."""
    if not isinstance(schema, Mapping):
        return schema
    new = dict(modern(schema))
    for key in _SINGLE:
        if key in new:
            new[key] = _modernized(new[key])
    for key in _LISTED:
        if isinstance(new.get(key), list):
            new[key] = [_modernized(part) for part in new[key]]
    for key in _NAMED:
        if isinstance(new.get(key), Mapping):
            new[key] = {name: _modernized(part) for name, part in new[key].items()}
    return new


@cache
def _validator_class() -> Any:
    """Return jsonschema's validator of the newest edition, every keyword within the deadline."""
    import regex  # noqa: F401  # the slow part of the first pattern
    from jsonschema import Draft202012Validator
    from jsonschema.validators import extend

    checks = {
        **Draft202012Validator.VALIDATORS,
        "pattern": _check_pattern,
        "patternProperties": _check_pattern_properties,
        "additionalProperties": _check_additional_properties,
        "unevaluatedProperties": _check_unevaluated_properties,
        "uniqueItems": _check_unique_items,
    }
    return extend(Draft202012Validator, {name: _in_time(check) for name, check in checks.items()})


def _in_time(check: Callable[..., Any]) -> Callable[..., Iterator[Any]]:
    def checked(validator: Any, value: Any, instance: Any, schema: Any) -> Iterator[Any]:
        _seconds_left()
        yield from check(validator, value, instance, schema) or ()

    return checked


def _seconds_left() -> float:
    left = _deadline.get() - time.perf_counter()
    if left <= 0:
        raise NotCheckedError(f"its check takes over {1000 * MAX_SECONDS:.0f} ms")
    return left


def _found(pattern: str, text: str) -> bool:
    import regex  # unlike `re` it can be stopped

    try:
        # In JSON Schema the classes of a pattern are those of ECMA-262, which are ASCII's.
        return bool(regex.search(pattern, text, regex.ASCII, timeout=_seconds_left()))
    except TimeoutError:
        raise NotCheckedError(f"its check takes over {1000 * MAX_SECONDS:.0f} ms") from None
    except regex.error as error:
        raise NotCheckedError(f"its pattern {shorten(pattern, 50)!r} is unknown: {error}") from None


def _check_pattern(validator: Any, pattern: str, instance: Any, schema: Any) -> Iterator[Any]:
    from jsonschema import ValidationError

    if isinstance(instance, str) and not _found(pattern, instance):
        yield ValidationError(f"{instance!r} does not match {pattern!r}")


def _check_pattern_properties(
    validator: Any, patterns: Mapping[str, Any], instance: Any, schema: Any
) -> Iterator[Any]:
    for pattern, part in patterns.items() if isinstance(instance, dict) else ():
        for key, value in instance.items():
            if _found(pattern, key):
                yield from validator.descend(value, part, path=key, schema_path=pattern)


def _check_additional_properties(
    validator: Any, part: Any, instance: Any, schema: Mapping[str, Any]
) -> Iterator[Any]:
    from jsonschema import ValidationError

    patterns = schema.get("patternProperties", {})
    for key, value in instance.items() if isinstance(instance, dict) else ():
        if key in schema.get("properties", {}) or any(_found(p, key) for p in patterns):
            continue
        if part is False:
            yield ValidationError(f"{key!r} is not declared")
        else:
            yield from validator.descend(value, part, path=key)


def _check_unevaluated_properties(
    validator: Any, part: Any, instance: Any, schema: Any
) -> Iterator[Any]:
    """Leave it to jsonschema, whose search for patterns of keys cannot be stopped."""
    from jsonschema import Draft202012Validator

    if "patternProperties" in json.dumps(validator.schema):
        raise NotCheckedError("it has unevaluatedProperties beside patternProperties")
    check = Draft202012Validator.VALIDATORS["unevaluatedProperties"]
    yield from check(validator, part, instance, schema) or ()


def _check_unique_items(
    validator: Any, is_unique: Any, instance: Any, schema: Any
) -> Iterator[Any]:
    """Find equal items in linear time; jsonschema compares objects each with each."""
    from jsonschema import ValidationError

    if is_unique and isinstance(instance, list):
        seen = set()
        for item in instance:
            if (key := _hashable(item)) in seen:
                yield ValidationError(f"{item!r} comes twice")
                return
            seen.add(key)


def _hashable(value: Any) -> Any:
    """Return a key that equal JSON values share; 1 and 1.0 are equal, 1 and true are not."""
    if isinstance(value, list):
        return (list, tuple(map(_hashable, value)))
    if isinstance(value, dict):
        return (dict, frozenset((key, _hashable(part)) for key, part in value.items()))
    return (bool, value) if isinstance(value, bool) else value
