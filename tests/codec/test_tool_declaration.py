"""The TypeScript of tool declarations, rule by rule (FORMAT sections 3.4 and 3.5)."""

from typing import Any

import pytest

from sglang_kimi.codec.tool_declaration import tool_declaration

Schema = dict[str, Any]


def tool(parameters: Any = None, **function: Any) -> dict[str, Any]:
    function = {"name": "f", **function}
    if parameters is not None:
        function["parameters"] = parameters
    return {"type": "function", "function": function}


def functions(*tools: dict[str, Any]) -> str:
    """Return what stands between the braces of the namespace."""
    text = tool_declaration(tools)
    head, tail = "# Tools\n\n## functions\nnamespace functions {\n", "\n}\n"
    assert text.startswith(head) and text.endswith(tail), text
    return text.removeprefix(head).removesuffix(tail)


def shown(schema: Any, **root: Any) -> str:
    """Return the type of a required field `x` with this schema."""
    parameters = {"type": "object", "properties": {"x": schema}, "required": ["x"], **root}
    text = functions(tool(parameters))
    return text.removeprefix("type f = (_: {\n").removesuffix("\n}) => any;")


def is_json(schema: Any) -> bool:
    text = tool_declaration([tool({"type": "object", "properties": {"x": schema}})])
    return text.startswith('[{"function":{"name":"f",')


def test_the_example_of_the_specification() -> None:
    parameters = {
        "type": "object",
        "properties": {
            "limit": {"type": "integer", "minimum": 1, "maximum": 100, "default": 10},
            "edits": {
                "type": "array",
                "description": "Edits in order",
                "minItems": 1,
                "items": {
                    "type": "object",
                    "description": "one file",
                    "properties": {
                        "kind": {"type": "string", "enum": ["text", "binary"]},
                        "path": {"type": "string"},
                    },
                    "required": ["path"],
                },
            },
            "meta": {"type": "object", "additionalProperties": {"type": "string"}},
        },
        "required": ["edits"],
    }
    assert functions(tool(parameters, name="edit_files", description="Apply edits.")) == (
        """\
// Apply edits.
type edit_files = (_: {
  // Edits in order
  // minItems: 1
  edits: Array<
    // one file
    {
      path: string,
      kind?: "text" | "binary"
    }
  >,
  // maximum: 100, minimum: 1
  // Default: 10
  limit?: number,
  meta?: {
    [k: string]: string
  }
}) => any;"""
    )


def test_functions_stand_in_order_one_a_line() -> None:
    assert functions(tool(name="b"), tool(name="a")) == (
        "type b = (_: {}) => any;\ntype a = (_: {}) => any;"
    )


def test_a_function_without_name_is_called_function() -> None:
    nameless = {"type": "function", "function": {"description": "d"}}
    assert functions(nameless) == "// d\ntype function = (_: {}) => any;"


def test_other_types_and_empty_functions_are_skipped() -> None:
    others = [
        {"type": "builtin_function", "function": {"name": "$web_search"}},
        {"type": "function", "function": {}},
        {"type": "function"},
    ]
    assert functions(*others, tool()) == "type f = (_: {}) => any;"


def test_nothing_but_other_types_is_printed_as_json() -> None:
    builtin = {"type": "builtin_function", "function": {"name": "$web_search"}}
    assert tool_declaration([builtin]) == (
        '[{"function":{"name":"$web_search"},"type":"builtin_function"}]'
    )


def test_json_is_compact_sorted_and_keeps_characters() -> None:
    text = tool_declaration(
        [tool({"type": "object", "properties": {"x": {"description": "<é&>"}}}, strict=True)]
    )
    assert text == (
        '[{"function":{"name":"f","parameters":{"properties":{"x":{"description":"<é&>"}},'
        '"type":"object"},"strict":true},"type":"function"}]'
    )


def test_none_fields_of_a_model_dump_are_left_out_but_not_those_of_a_schema() -> None:
    dumped = tool({"type": "object", "properties": {"x": {"default": None}}}, description=None)
    dumped |= {"defer_loading": None}
    assert tool_declaration([dumped]) == (
        '[{"function":{"name":"f","parameters":{"properties":{"x":{"default":null}},'
        '"type":"object"}},"type":"function"}]'
    )


def test_one_schema_that_cannot_be_shown_turns_the_whole_list_to_json() -> None:
    bad = tool({"type": "object", "properties": {"x": {"oneOf": []}}}, name="bad")
    assert tool_declaration([tool(), bad]).startswith('[{"function":{"name":"f"}')


def test_description_lines_become_comments_and_empty_lines_stay_empty() -> None:
    assert functions(tool(description="one\n\n  three")) == (
        "// one\n\n//   three\ntype f = (_: {}) => any;"
    )
    assert shown({"type": "string", "description": "a\n\nb"}) == "  // a\n\n  // b\n  x: string"


def test_empty_description_prints_nothing() -> None:
    assert functions(tool(description="")) == "type f = (_: {}) => any;"
    assert shown({"type": "string", "description": ""}) == "  x: string"


def test_the_root_is_an_object_whatever_its_type_and_has_no_description() -> None:
    parameters = {"type": "string", "description": "gone", "properties": {"a": {"type": "null"}}}
    assert functions(tool(parameters)) == "type f = (_: {\n  a?: null\n}) => any;"


@pytest.mark.parametrize(
    ("schema", "text"),
    [
        ({"type": "string"}, "string"),
        ({"type": "number"}, "number"),
        ({"type": "integer"}, "number"),
        ({"type": "boolean"}, "boolean"),
        ({"type": "null"}, "null"),
        ({"type": "file"}, "file"),
        ({}, "any"),
        (True, "any"),
        (False, "null"),
        ({"type": ["string", "integer", "null"]}, "string | number | null"),
        ({"type": ["number", "integer", "object", "array"]}, "number | number | {} | Array<any>"),
        ({"anyOf": [{"type": "string"}, {"type": "null"}]}, "string | null"),
        ({"anyOf": [{"type": "string", "description": "gone"}, True]}, "string | any"),
        (
            {"enum": ["a", 'say "hi"', 1, 2.5, True, None]},
            '"a" | "say "hi"" | 1 | 2.5 | True | None',
        ),
        ({"type": "string", "enum": ["a", None]}, '"a" | None'),
        ({"type": ["string", "null"], "enum": ["a"]}, '"a"'),
        ({"type": ["null", "integer"], "enum": [1]}, "1"),
        ({"type": ["string"], "enum": ["a"]}, '"a"'),
        ({"type": "number", "enum": [1, 2.5]}, "1 | 2.5"),
        ({"type": "object"}, "{}"),
        ({"type": "object", "properties": {}}, "{}"),
        ({"type": "object", "additionalProperties": True}, "{\n    [k: string]: any\n  }"),
        ({"type": "object", "additionalProperties": False}, "{\n    [k: string]: never\n  }"),
        ({"type": "object", "additionalProperties": {}}, "{\n    [k: string]: any\n  }"),
        ({"type": "array"}, "Array<any>"),
        ({"type": "array", "items": {}}, "Array<any>"),
        ({"type": "array", "items": {"type": "integer"}}, "Array<number>"),
        ({"type": "array", "items": {"type": "array", "items": True}}, "Array<Array<any>>"),
        ({"$ref": "#/$defs/D", "type": "string"}, "D"),
    ],
)
def test_type_of_a_schema(schema: Any, text: str) -> None:
    definitions = {"$defs": {"D": {"type": "string"}}} if "$ref" in str(schema) else {}
    heading = "interface D string\ntype f = (_: {\n" if definitions else ""
    assert shown(schema, **definitions) == f"{heading}  x: {text}"


@pytest.mark.parametrize(
    "schema",
    [
        {"oneOf": [{"type": "string"}]},
        {"allOf": [{"type": "string"}]},
        {"const": 1},
        {"description": "typeless"},
        {"properties": {"a": {"type": "string"}}},
        {"type": ["string", "file"]},
        {"type": 5},
        {"anyOf": {"type": "string"}},
        {"enum": "ab"},
        {"type": "string", "enum": [1]},
        {"type": "integer", "enum": [1.5]},
        {"type": "boolean", "enum": ["yes"]},
        {"type": ["string", "integer"], "enum": ["a"]},
        {"type": ["string", "integer", "null"], "enum": ["a"]},
        {"type": [], "enum": ["a"]},
        {"$ref": "#/$defs/Unknown"},
        {"$ref": "#/definitions/D"},
        {"$ref": "http://example.com/schema"},
        {"type": "array", "items": [{"type": "string"}]},
        {"type": "object", "properties": ["a"]},
        {"type": "string", "description": 5},
        "string",
        None,
    ],
)
def test_schema_that_typescript_cannot_show(schema: Any) -> None:
    assert is_json(schema)


def test_anyof_goes_before_enum_and_enum_before_type() -> None:
    assert shown({"anyOf": [{"type": "null"}], "enum": ["a"]}) == "  x: null"
    assert shown({"enum": ["a"], "type": "string"}) == '  x: "a"'


@pytest.mark.parametrize(
    ("schema", "comment"),
    [
        ({"type": "string", "pattern": "^a", "minLength": 1, "maxLength": 5, "minimum": 3},
         "maxLength: 5, minLength: 1, pattern: ^a"),
        ({"type": "number", "minimum": 0.5, "maximum": None}, "maximum: None, minimum: 0.5"),
        ({"type": "integer", "minimum": True, "minLength": 2}, "minimum: True"),
        ({"type": "array", "minItems": 1, "maxItems": 2, "uniqueItems": True},
         "maxItems: 2, minItems: 1"),
    ],
)  # fmt: skip
def test_constraints_are_a_comment_sorted_by_key(schema: Schema, comment: str) -> None:
    assert shown(schema).splitlines()[0] == f"  // {comment}"


@pytest.mark.parametrize(
    "schema",
    [
        {"enum": ["a"], "type": "string", "maxLength": 3},
        {"type": "boolean", "minimum": 1},
        {"type": ["string", "null"], "maxLength": 3},
        {"anyOf": [{"type": "string"}], "maxLength": 3},
        {"type": "object", "minItems": 3},
    ],
)
def test_other_kinds_show_no_constraints(schema: Schema) -> None:
    assert "//" not in shown(schema)


def test_description_goes_before_constraints_and_default_after_them() -> None:
    schema = {"type": "string", "description": "d", "maxLength": 3, "default": "é"}
    assert shown(schema) == '  // d\n  // maxLength: 3\n  // Default: "é"\n  x: string'


@pytest.mark.parametrize(
    ("default", "text"),
    [
        (True, "True"),
        (0, "0"),
        (0.001, "0.001"),
        ("a", '"a"'),
        ([1, "b"], '[1, "b"]'),
        ({"b": None, "a": False}, '{"a": false, "b": null}'),
    ],
)
def test_default_is_shown(default: Any, text: str) -> None:
    assert shown({"default": default, "type": "string"}) == f"  // Default: {text}\n  x: string"


def test_default_none_is_not_shown() -> None:
    assert shown({"default": None, "type": "string"}) == "  x: string"


def test_required_fields_go_first_and_each_group_by_name() -> None:
    fields = {name: {"type": "null"} for name in ("b", "a", "Z", "é", "c")}
    text = functions(tool({"type": "object", "properties": fields, "required": ["é", "b"]}))
    names = [line.split(":")[0].strip() for line in text.splitlines()[1:-1]]
    assert names == ["b", "é", "Z?", "a?", "c?"]


def test_additional_properties_are_the_last_entry_of_an_object() -> None:
    schema = {
        "type": "object",
        "properties": {"a": {"type": "string"}},
        "additionalProperties": {"type": "object", "properties": {"b": {"type": "null"}}},
    }
    assert shown(schema) == (
        "  x: {\n    a?: string,\n    [k: string]: {\n      b?: null\n    }\n  }"
    )


def test_array_items_without_docstring_stay_at_the_arrays_indent() -> None:
    items = {"type": "object", "properties": {"a": {"type": "null"}}}
    assert shown({"type": "array", "items": items}) == "  x: Array<{\n    a?: null\n  }>"


def test_array_items_with_constraints_only_have_a_docstring_too() -> None:
    items = {"type": "string", "maxLength": 3}
    assert shown({"type": "array", "items": items}) == (
        "  x: Array<\n    // maxLength: 3\n    string\n  >"
    )


def test_union_members_print_at_the_fields_indent() -> None:
    member = {"type": "object", "properties": {"a": {"type": "null", "description": "kept"}}}
    assert shown({"anyOf": [member, {"type": "null"}]}) == (
        "  x: {\n    // kept\n    a?: null\n  } | null"
    )


def test_definitions_are_interfaces_in_the_order_met() -> None:
    parameters = {
        "type": "object",
        "$defs": {
            "Node": {
                "type": "object",
                "description": "A node.",
                "properties": {"next": {"$ref": "#/$defs/Node"}},
            },
            "Colour": {"enum": ["red", "green"]},
        },
        "properties": {"n": {"$ref": "#/$defs/Node", "description": "start"}},
    }
    assert functions(tool(parameters, description="D")) == (
        """\
interface Colour "red" | "green"
// A node.
interface Node {
  next?: Node
}
// D
type f = (_: {
  // start
  n?: Node
}) => any;"""
    )


def test_a_reference_to_the_root_prints_it_as_an_interface_with_fields_by_name() -> None:
    parameters = {
        "type": "object",
        "properties": {"b": {"type": "string"}, "a": {"$ref": "#"}},
        "required": ["b"],
        "additionalProperties": False,
    }
    assert functions(tool(parameters)) == (
        """\
interface parameters {
  a?: parameters,
  b: string
}
type f = (_: parameters) => any;"""
    )


def test_the_interface_of_a_root_without_fields_stands_on_one_line() -> None:
    text = functions(tool({"type": "object", "additionalProperties": {"$ref": "#"}}))
    assert text == "interface parameters {}\ntype f = (_: parameters) => any;"


@pytest.mark.parametrize("root", [{}, [], {"$defs": None}, {"required": None}])
def test_a_root_without_anything_to_show_has_no_fields(root: Any) -> None:
    assert functions(tool(root)) == "type f = (_: {}) => any;"


@pytest.mark.parametrize("required", [None, True, 1, [["x"]]])
def test_required_that_holds_no_names_cannot_be_shown_beside_fields(required: Any) -> None:
    text = tool_declaration([tool({"properties": {"x": {}}, "required": required})])
    assert text.startswith('[{"function":')


def test_a_reference_to_the_root_met_in_a_definition_only_prints_no_interface() -> None:
    parameters = {
        "type": "object",
        "$defs": {"D": {"type": "array", "items": {"$ref": "#"}}},
        "properties": {"a": {"$ref": "#/$defs/D"}},
    }
    assert functions(tool(parameters)) == (
        "interface D Array<parameters>\ntype f = (_: {\n  a?: D\n}) => any;"
    )


def test_definitions_met_inside_definitions_can_be_named_but_are_not_printed() -> None:
    inner = {"type": "object", "$defs": {"I": {"type": "null"}}, "properties": {"i": {}}}
    inner["properties"] = {"i": {"$ref": "#/$defs/I"}}
    parameters = {"$defs": {"D": inner}, "properties": {"a": {"$ref": "#/$defs/D"}}}
    assert functions(tool(parameters)) == (
        "interface D {\n  i?: I\n}\ntype f = (_: {\n  a?: D\n}) => any;"
    )


def test_definitions_of_a_nested_object_are_registered_when_it_is_met() -> None:
    nested = {"type": "object", "$defs": {"N": {"type": "null"}}}
    after = {"properties": {"a": nested, "b": {"$ref": "#/$defs/N"}}}
    assert "b?: N" in functions(tool(after))
    before = {"properties": {"b": nested, "a": {"$ref": "#/$defs/N"}}}
    assert tool_declaration([tool(before)]).startswith("[{")


def test_a_definition_that_is_no_object_cannot_be_shown() -> None:
    assert tool_declaration([tool({"$defs": {"D": True}})]).startswith("[{")


def test_a_reference_to_a_definition_that_is_no_object_cannot_be_shown() -> None:
    # The nested object comes later and replaces the definition; the reference saw the first one.
    nested = {"type": "object", "$defs": {"D": {"type": "string"}}}
    properties = {"a": {"$ref": "#/$defs/D"}, "b": nested}
    text = tool_declaration([tool({"$defs": {"D": False}, "properties": properties})])
    assert text.startswith('[{"function":')


def test_definitions_belong_to_one_function() -> None:
    first = tool({"$defs": {"D": {"type": "null"}}}, name="first")
    second = tool({"properties": {"a": {"$ref": "#/$defs/D"}}}, name="second")
    assert tool_declaration([first, second]).startswith("[{")
