"""Routed experts in the checkpoint's INT4 group-32 layout."""
