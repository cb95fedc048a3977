"""What must be known of our all-to-all before any process starts: its name and what it needs."""

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


def check_all_to_all(server_args: Any, *, has_graphs: bool) -> None:
    """Refuse what our all-to-all cannot do; nothing where another backend is chosen.

    Raises ValueError where an expert would be split over ranks, since nobody would add up the
    parts, and where there are CUDA graphs, since it waits for the numbers of tokens.
    """
    if server_args.moe_a2a_backend != ALL_TO_ALL:
        return
    if server_args.ep_size != server_args.tp_size:
        raise ValueError(
            f"--moe-a2a-backend {ALL_TO_ALL} wants whole experts on every rank: --ep-size "
            f"{server_args.tp_size} as --tp-size, got {server_args.ep_size}"
        )
    if has_graphs:
        raise ValueError(
            f"--moe-a2a-backend {ALL_TO_ALL} cannot be part of a CUDA graph; start with "
            "--disable-cuda-graph, or take deepep in its low-latency mode"
        )
