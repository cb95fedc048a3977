"""JSON schemas as grammars: read, normalised and written in the Lark form that llguidance runs."""
