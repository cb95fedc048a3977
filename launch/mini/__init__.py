"""The mini checkpoint: the real format in small dimensions."""
