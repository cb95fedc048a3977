"""Model output (token ids or text) to reasoning, content and tool calls. Imports no other room."""
