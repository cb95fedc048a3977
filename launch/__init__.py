"""Command line and recipes. Imports every other room; starts sglang as a process, never imports it."""
