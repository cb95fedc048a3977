"""Whatever is sampled, calls come out whole: uniform choice over the mask, the hardest model."""

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from sglang_kimi.parsers.grammars import TurnMatcher

SHAPES: dict[str, Any] = {
    "flat": {
        "properties": {
            "path": {"type": "string"},
            "mode": {"enum": ["r", "w", 3, None]},
            "limit": {"type": "integer", "minimum": 1, "maximum": 500},
            "all": {"type": "boolean"},
        },
        "required": ["path", "mode", "limit", "all"],
    },
    "open": {},
    "nested arrays": {
        "properties": {
            "edits": {
                "type": "array",
                "minItems": 2,
                "items": {
                    "type": "object",
                    "properties": {"old": {"type": "string"}, "new": {"type": "string"}},
                    "required": ["old", "new"],
                },
            }
        },
        "required": ["edits"],
    },
    "any of": {
        "properties": {
            "target": {
                "anyOf": [
                    {"type": "object", "properties": {"id": {"const": 7}}, "required": ["id"]},
                    {"type": "array", "items": {"type": "number"}, "maxItems": 3},
                    {"type": "null"},
                ]
            }
        },
        "required": ["target"],
    },
    "any of beside properties": {
        "properties": {"a": {"type": "integer"}, "b": {"type": "string"}},
        "anyOf": [{"required": ["a"]}, {"required": ["b"]}],
    },
    "all of": {
        "allOf": [
            {"properties": {"a": {"type": "integer"}}, "required": ["a"]},
            {"properties": {"b": {"type": "string", "maxLength": 5}}, "required": ["b"]},
        ]
    },
    "recursive": {
        "$defs": {
            "node": {
                "type": "object",
                "properties": {
                    "value": {"type": "integer"},
                    "children": {"type": "array", "items": {"$ref": "#/$defs/node"}},
                },
                "required": ["value"],
                "additionalProperties": False,
            }
        },
        "properties": {"tree": {"$ref": "#/$defs/node"}},
        "required": ["tree"],
    },
    "lengths": {
        "properties": {
            "short": {"type": "string", "minLength": 3, "maxLength": 6},
            "long": {"type": "string", "minLength": 40},
            "code": {"type": "string", "pattern": "^[A-Z]{2}-\\d+$"},
            "found": {"type": "string", "pattern": "ab+"},
        },
        "required": ["short", "long", "code", "found"],
    },
    "numbers": {
        "properties": {
            "ratio": {"type": "number", "exclusiveMinimum": 0, "maximum": 1},
            "step": {"type": "number", "multipleOf": 0.5},
            "count": {"type": "integer", "multipleOf": 3},
            "offset": {"type": "integer", "minimum": -2.5, "maximum": 2.5},
        },
        "required": ["ratio", "step", "count", "offset"],
    },
    "distinct items": {
        "properties": {
            "tags": {
                "type": "array",
                "items": {"type": "string", "enum": ["a", "b", "c"]},
                "uniqueItems": True,
                "minItems": 1,
            }
        },
        "required": ["tags"],
    },
    "required without declaration": {"required": ["a", "b"], "properties": {"b": {"type": "null"}}},
    "typed extras": {"additionalProperties": {"type": "integer"}, "minProperties": 1},
    "many optional": {
        "properties": {f"option_{number}": {"type": "string"} for number in range(12)},
        "additionalProperties": False,
    },
    "draft 4": {
        "properties": {
            "n": {"type": "integer", "minimum": 0, "exclusiveMinimum": True},
            "pair": {"type": "array", "items": [{"type": "string"}, {"type": "integer"}]},
        },
        "required": ["n", "pair"],
    },
    "dates": {
        "properties": {"day": {"type": "string", "format": "date"}},
        "required": ["day"],
    },
}


def find_error(schema: Any, value: Any) -> str | None:
    validator = jsonschema.validators.validator_for(schema, jsonschema.Draft202012Validator)
    if "draft 4" in schema.get("title", ""):
        validator = jsonschema.Draft4Validator
    checker = jsonschema.FormatChecker(["date", "ipv4"])
    error = next(validator(schema, format_checker=checker).iter_errors(value), None)
    return None if error is None else f"{error.message} at {[*error.path]}"


@pytest.mark.parametrize("max_tokens", [160, 256])
@pytest.mark.parametrize("shape", [*SHAPES])
def test_every_forced_call_is_whole_and_valid(
    driver: Any, make_tool: Any, calls_in: Any, shape: str, max_tokens: int
) -> None:
    schema = {"type": "object", "title": shape, **SHAPES[shape]}
    tools = [make_tool("other", {"type": "object"}), make_tool("wanted", schema)]
    grammar = driver.compiler.tool_calls(tools, is_forced=True, name="wanted")
    for seed in range(6):
        matcher = TurnMatcher(grammar, start_index=5, max_tokens=max_tokens)
        output = driver.text(driver.choose(matcher, seed, max_tokens))
        assert matcher.is_terminated(), output
        found = calls_in(output)
        assert [call_id for call_id, _ in found] == [
            f"functions.wanted:{5 + number}" for number in range(len(found))
        ]
        assert found
        for _, arguments in found:
            assert find_error(schema, arguments) is None, arguments


@pytest.mark.parametrize("max_tokens", [90, 300])
def test_sets_of_tools_give_declared_names_with_the_next_index(
    driver: Any, make_tool: Any, calls_in: Any, max_tokens: int
) -> None:
    names = {f"tool_{number}/{shape}": shape for number, shape in enumerate(SHAPES)}
    tools = [make_tool(name, {"type": "object", **SHAPES[names[name]]}) for name in names]
    grammar = driver.compiler.tool_calls(tools, is_forced=True)
    chosen = set()
    for seed in range(12):
        matcher = TurnMatcher(grammar, max_tokens=max_tokens)
        output = driver.text(driver.choose(matcher, seed, max_tokens))
        assert matcher.is_terminated(), output
        for number, (call_id, arguments) in enumerate(calls_in(output)):
            name = call_id.removeprefix("functions.").removesuffix(f":{number}")
            schema = {"title": names[name], "type": "object", **SHAPES[names[name]]}
            assert find_error(schema, arguments) is None, arguments
            chosen.add(name)
    assert chosen


def test_the_thinking_leaves_room_for_the_call(driver: Any, make_tool: Any) -> None:
    schema = {"type": "object", **SHAPES["flat"]}
    grammar = driver.compiler.tool_calls([make_tool("wanted", schema)], is_forced=True)
    matcher = TurnMatcher(grammar, max_tokens=8192)
    assert 5000 <= matcher.thinking_budget <= 8192 - grammar.num_reserved
    assert TurnMatcher(grammar, max_tokens=8192, thinking_budget=9).thinking_budget == 9
    assert TurnMatcher(grammar, max_tokens=10).thinking_budget == 0
    assert TurnMatcher(grammar).thinking_budget is None


@pytest.mark.parametrize("num_spare", [0, 1, 2, 5, 20])
def test_a_call_ends_even_where_the_room_is_just_enough(
    driver: Any, make_tool: Any, calls_in: Any, num_spare: int
) -> None:
    schema = {"type": "object", **SHAPES["nested arrays"]}
    grammar = driver.compiler.tool_calls([make_tool("wanted", schema)], is_forced=True)
    max_tokens = grammar.num_reserved + 1 + num_spare
    for seed in range(10):
        matcher = TurnMatcher(grammar, max_tokens=max_tokens)
        output = driver.text(driver.choose(matcher, seed, max_tokens))
        assert matcher.is_terminated(), output
        assert find_error(schema, calls_in(output)[0][1]) is None


def test_an_unforced_section_that_was_opened_is_finished(
    driver: Any, make_tool: Any, calls_in: Any
) -> None:
    schema = {"type": "object", **SHAPES["flat"]}
    grammar = driver.compiler.tool_calls([make_tool("wanted", schema)], is_forced=False)
    opening = driver.spell("</think>Well. <|tool_calls_section_begin|>")
    for seed in range(10):
        matcher = TurnMatcher(grammar, max_tokens=120)
        for token_id in opening:
            matcher.accept_token(token_id)
        output = driver.text(driver.choose(matcher, seed, 120 - len(opening)))
        assert matcher.is_terminated(), output
        assert find_error(schema, calls_in(output)[0][1]) is None


def endless_tool(make_tool: Any, required: list[str]) -> Any:
    node = {
        "type": "object",
        "properties": {"next": {"$ref": "#/$defs/node"}},
        "required": ["next"],
    }
    schema = {"$defs": {"node": node}, "properties": {"node": node, "n": {"type": "integer"}}}
    return make_tool("wanted", {"type": "object", **schema, "required": required})


def test_an_optional_value_that_can_not_end_is_not_begun(
    driver: Any, make_tool: Any, calls_in: Any
) -> None:
    grammar = driver.compiler.tool_calls([endless_tool(make_tool, [])], is_forced=True)
    for seed in range(5):
        matcher = TurnMatcher(grammar, max_tokens=150)
        found = calls_in(driver.text(driver.choose(matcher, seed, 150)))
        assert found and all("node" not in arguments for _, arguments in found)


def test_a_schema_that_can_not_end_is_followed_as_long_as_it_goes(
    driver: Any, make_tool: Any
) -> None:
    grammar = driver.compiler.tool_calls([endless_tool(make_tool, ["node"])], is_forced=True)
    output = driver.text(driver.choose(TurnMatcher(grammar, max_tokens=200), 4, 200))
    assert b"<|tool_call_argument_begin|>" in output


def walle_schemas(folder: Path) -> list[Any]:
    """Return the published schemas; a root that is no object becomes one property's schema."""
    schemas = []
    for path in sorted(folder.glob("*.jsonl")):
        for line in path.read_text().splitlines():
            schema = json.loads(line)
            if not (isinstance(schema, dict) and schema.get("type") == "object"):
                shared = {}
                if isinstance(schema, dict) and '"#"' not in line and "#/properties" not in line:
                    shared = {key: schema[key] for key in ("$defs", "definitions") if key in schema}
                wrapped = {"type": "object", "properties": {"value": schema}, **shared}
                schema = {**wrapped, "required": ["value"]}
            if "999999" not in line:  # a string longer than any output
                schemas.append(schema)
    return schemas


def check_walle(driver: Any, make_tool: Any, calls_in: Any, schemas: list[Any], room: int) -> None:
    for number, schema in enumerate(schemas):
        grammar = driver.compiler.tool_calls([make_tool("wanted", schema)], is_forced=True)
        matcher = TurnMatcher(grammar, max_tokens=room, thinking_budget=0)
        output = driver.text(driver.choose(matcher, number, room))
        assert matcher.is_terminated(), (schema, output)
        for _, arguments in calls_in(output):
            assert find_error(schema, arguments) is None, (schema, arguments)


def test_published_schemas_give_valid_calls(
    driver: Any, make_tool: Any, calls_in: Any, shared: Path
) -> None:
    schemas = walle_schemas(shared / "walle")
    assert len(schemas) > 200
    check_walle(driver, make_tool, calls_in, schemas[::4], 200)


@pytest.mark.slow
@pytest.mark.parametrize(("room", "step"), [(256, 1), (2048, 4)])
def test_published_schemas_give_valid_calls_in_the_real_vocabulary(
    real_driver: Any, make_tool: Any, calls_in: Any, shared: Path, room: int, step: int
) -> None:
    check_walle(real_driver, make_tool, calls_in, walle_schemas(shared / "walle")[::step], room)
