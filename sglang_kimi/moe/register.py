"""What the command line must know of our dispatcher before any process starts."""

from __future__ import annotations

import argparse
from typing import Any, Final

from ..seams import hook

ALL_TO_ALL: Final = "customized"  # the name that SGLang's own list of backends has for others'


def register() -> None:
    """Offer our all-to-all as `--moe-a2a-backend customized`."""
    hook("command_line", offer_all_to_all, "after")


def offer_all_to_all(_: None, parser: argparse.ArgumentParser) -> None:
    """Add our name to the choices of --moe-a2a-backend."""
    for action in parser._actions:
        if action.dest == "moe_a2a_backend" and action.choices is not None:
            choices: Any = action.choices
            if ALL_TO_ALL not in choices:
                action.choices = [*choices, ALL_TO_ALL]
