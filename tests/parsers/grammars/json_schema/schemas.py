"""Random schemas and values of one small world, so that they meet often."""

from typing import Any

from hypothesis import strategies as st

KEYS = ("a", "b", "c", "x1")
_SCALARS = (None, True, False, 0, 1, 2, 3, -1, 10, 0.5, 2.0, "", "a", "b", "ab", "abc", 'é"')
_KINDS = ("string", "integer", "number", "object", "array", "null", "boolean")

keys = st.sampled_from(KEYS)
values = st.recursive(
    st.sampled_from(_SCALARS),
    lambda part: (
        st.lists(part, max_size=3) | st.dictionaries(keys | st.just("zz"), part, max_size=3)
    ),
    max_leaves=6,
)
_counts = st.integers(0, 3)
_leaves = st.sampled_from(
    (True, {}, {"type": "string"}, {"type": "integer"}, {"type": "boolean"}, {"const": "a"}, False)
)


def _keywords(part: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    parts = st.lists(part, min_size=1, max_size=3)
    one = st.one_of(
        *(
            st.fixed_dictionaries({name: strategy})
            for name, strategy in {
                "type": st.sampled_from(_KINDS) | st.sampled_from((["object", "null"],)),
                "enum": st.lists(values, min_size=1, max_size=4),
                "const": values,
                "pattern": st.sampled_from(("a", "^a", "b$")),
                "minLength": _counts,
                "maxLength": _counts,
                "minimum": st.sampled_from((0, 1, 1.5)),
                "exclusiveMaximum": st.sampled_from((2, 2.5)),
                "multipleOf": st.sampled_from((2, 0.5)),
                "required": st.lists(keys, max_size=2, unique=True),
                "additionalProperties": part,
                "patternProperties": st.dictionaries(
                    st.sampled_from(("^a", "b", "1$")), part, max_size=2
                ),
                "propertyNames": st.sampled_from(({"maxLength": 1}, {"enum": ["a", "b"]})),
                "minProperties": _counts,
                "maxProperties": _counts,
                "items": part,
                "prefixItems": parts,
                "minItems": _counts,
                "maxItems": _counts,
                "uniqueItems": st.booleans(),
                "contains": part,
                "anyOf": parts,
                "oneOf": parts,
                "allOf": parts,
                "not": part,
                "dependentRequired": st.dictionaries(keys, st.lists(keys, max_size=2), max_size=2),
                "dependentSchemas": st.dictionaries(keys, part, max_size=2),
            }.items()
        ),
        st.fixed_dictionaries({"if": part, "then": part, "else": part}),
    )
    fields = st.fixed_dictionaries({"properties": st.dictionaries(keys, part, max_size=3)})
    chosen = st.lists(one | fields, min_size=1, max_size=4)
    return chosen.map(lambda found: {k: v for keyword in found for k, v in keyword.items()})


schemas = st.recursive(_leaves, _keywords, max_leaves=8).filter(lambda s: isinstance(s, dict))
