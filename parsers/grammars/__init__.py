"""Token-level grammars for Kimi's tool calls. Imports xgrammar inside functions, no other room."""
