"""JSON schemas as grammars: read, normalised and written in the Lark form that llguidance runs."""

from .arguments import arguments_schema
from .check import SchemaError, check_schema
from .pointers import resolve_pointer
from .writer import SchemaGrammar, write_grammar

__all__ = [
    "SchemaError",
    "SchemaGrammar",
    "arguments_schema",
    "check_schema",
    "resolve_pointer",
    "write_grammar",
]
