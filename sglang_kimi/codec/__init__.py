"""Messages to token ids by the Kimi prompt format. Imports neither torch nor sglang."""
