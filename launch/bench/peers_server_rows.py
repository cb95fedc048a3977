"""The rows of `bench peers` that need a running server, and where its steps go."""

from collections.abc import Mapping
from statistics import median
from typing import Final

from .peer_engine import PeerEngine
from .peer_server import PeerServer, StepProfile
from .peer_work import CHATS, REQUESTS, WARM_UPS, Work
from .peers_rows import Row, Show

MAX_OVERHEAD_S: Final = 0.010
MIN_SCALING: Final = 3.0  # tokens/s of eight requests over those of one


def show_requests(
    server: PeerServer, peer: PeerEngine, rounds: int, vocab_size: int, show: Show
) -> list[str]:
    """Show tokens/s of requests at once; returns a line for each missed target."""
    _warm_up(server, vocab_size)
    misses: list[str] = []
    rates: dict[int, float] = {}
    for work in REQUESTS:
        row = _row(server, peer, work, rounds, vocab_size)
        show(str(row))
        misses += row.misses
        rates[work.num_prompts] = median(row.ours)
    chats = Row(CHATS.name, is_rate=True, target=None)
    for seed in CHATS.rounds(rounds):
        chats.ours.append(server.chat(CHATS.num_prompts, CHATS.num_tokens, seed))
    show(str(chats))
    scaling = rates[8] / rates[1]
    show(f"8 requests at once: {scaling:.2f} times the tokens/s of one  (>= {MIN_SCALING:.1f})")
    if scaling < MIN_SCALING:
        misses.append(f"8 requests: {scaling:.2f} times one's tokens/s, want {MIN_SCALING:.1f}")
    return misses


def _row(server: PeerServer, peer: PeerEngine, work: Work, rounds: int, vocab_size: int) -> Row:
    row = Row(work.name, is_rate=True, target=1.0 if work.num_prompts == 8 else None)
    for seed in work.rounds(rounds):
        prompts = work.prompts(vocab_size, seed)
        row.ours.append(server.generate(prompts, work.num_tokens))
        row.theirs.append(peer.run(prompts, work.num_tokens).tokens_per_s)
    return row


def _warm_up(server: PeerServer, vocab_size: int) -> None:
    for work in WARM_UPS:
        server.generate(work.prompts(vocab_size, 0), work.num_tokens)
    server.chat(1, 1, 0)


def show_profile(server: PeerServer, bare_s: Mapping[int, float], show: Show) -> list[str]:
    """Show where decode steps go; the overhead is what is not the model's forward.

    bare_s: seconds of the model's own step without a server, by batch size, to compare.
    """
    misses = []
    names = StepProfile.PARTS
    header = "".join(f"{name:>9}" for name in names)
    show(f"\n{'median step, ms':<18}{header}{'overhead':>10}{'bare step':>11}")
    for num in (work.num_prompts for work in REQUESTS):
        profile = server.steps(num)
        parts = "".join(f"{profile.parts[name] * 1e3:>9.2f}" for name in names)
        own = f"{profile.overhead * 1e3:>10.2f}{bare_s[num] * 1e3:>11.2f}"
        show(f"{f'{num} at once':<18}{parts}{own}")
        if profile.overhead > MAX_OVERHEAD_S:
            misses.append(
                f"server's overhead, {num} at once: {profile.overhead * 1e3:.1f} ms a step, "
                f"want at most {MAX_OVERHEAD_S * 1e3:.0f}"
            )
    return misses
