"""Command line and demo. May import every room; starts sglang as a process, never imports it."""
