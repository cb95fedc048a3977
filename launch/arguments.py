"""Types of command-line arguments that several commands have."""

import argparse


def positive(text: str) -> int:
    """Return a whole number above 0; argparse shows what another text was."""
    if not (text.isascii() and text.isdigit() and int(text) > 0):
        raise argparse.ArgumentTypeError(f"want a whole number above 0, got {text!r}")
    return int(text)
