"""The rows of `bench peers`: what both engines do, interleaved, and what the targets are."""

import argparse
import random
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Final

from .gguf_kimi import convert_to_gguf
from .peer_engine import IK_LLAMA, Answer, PeerEngine, ik_llama, our_engine
from .peer_server import PeerServer, StepProfile

Show = Callable[[str], None]

OURS, IK, SERVER = "ours", "ik-llama", "our server"
NUM_SLOTS: Final = 16384
MAX_OVERHEAD_S: Final = 0.010
MIN_SCALING: Final = 3.0  # tokens/s of eight requests over those of one
NUM_GREEDY: Final = 64


@dataclass(frozen=True)
class Work:
    """Some prompts at once. The ids are random: weights are, too."""

    name: str
    num_prompts: int
    prompt_tokens: int
    num_tokens: int

    def prompts(self, vocab_size: int, seed: int) -> list[list[int]]:
        """Return prompts that no other seed gives, so that no cache has them."""
        ids = random.Random(f"{self.name}/{seed}")
        return [
            [ids.randrange(vocab_size) for _ in range(self.prompt_tokens)]
            for _ in range(self.num_prompts)
        ]


DECODE: Final = Work("decode step", 1, 32, 33)
PREFILLS: Final = (Work("prefill of 512", 1, 512, 1), Work("prefill of 4,096", 1, 4096, 1))
BATCHES: Final = (
    Work("1 request", 1, 32, 64),
    Work("8 requests", 8, 32, 64),
    Work("32 requests", 32, 32, 64),
)

Rounds = Mapping[str, list[Answer]]


def show_peers(args: argparse.Namespace, show: Show) -> list[str]:
    """Measure and show everything; returns a line for each missed target."""
    with tempfile.TemporaryDirectory(prefix="sglang-kimi-peers-") as name:
        folder = Path(name)
        checkpoint, vocab_size = _checkpoint(args, folder)
        fast, exact = folder / "fast.gguf", folder / "exact.gguf"
        convert_to_gguf(checkpoint, fast)
        convert_to_gguf(checkpoint, exact, is_exact=True)
        with our_engine(checkpoint, args.threads, NUM_SLOTS) as ours:
            with ik_llama(exact, args.threads, NUM_SLOTS, is_exact=True) as oracle:
                misses = _greedy(ours, oracle, vocab_size, show)
            exact.unlink()
            with ik_llama(fast, args.threads, NUM_SLOTS, is_exact=False) as peer:
                engines = {OURS: ours, IK: peer}
                misses += _steps(engines, args.rounds, vocab_size, show)
        if not args.no_server:
            with ExitStack() as stack:
                peer = stack.enter_context(ik_llama(fast, args.threads, NUM_SLOTS, is_exact=False))
                server = stack.enter_context(PeerServer(checkpoint, args.threads, folder))
                misses += _batches(server, peer, args.rounds, vocab_size, show)
                misses += _profile(server, show)
    return misses


def _checkpoint(args: argparse.Namespace, folder: Path) -> tuple[Path, int]:
    import json

    from sglang_kimi.launch.mini.writer import write_mini_checkpoint

    checkpoint = Path(args.checkpoint) if args.checkpoint else folder / "checkpoint"
    if not args.checkpoint:
        write_mini_checkpoint(checkpoint, geometry="bench")
    config = json.loads((checkpoint / "config.json").read_text())["text_config"]
    return checkpoint, int(config["vocab_size"])


def _greedy(ours: PeerEngine, oracle: PeerEngine, vocab_size: int, show: Show) -> list[str]:
    prompts = Work("greedy", 1, 32, NUM_GREEDY).prompts(vocab_size, 0)
    found = ours.run(prompts, NUM_GREEDY).outputs[0]
    expected = oracle.run(prompts, NUM_GREEDY).outputs[0]
    equal = next((i for i in range(NUM_GREEDY) if found[i] != expected[i]), NUM_GREEDY)
    show(f"greedy tokens equal to {IK_LLAMA} in float32: the first {equal} of {NUM_GREEDY}\n")
    return [] if equal == NUM_GREEDY else [f"greedy tokens: {equal} of {NUM_GREEDY} equal"]


def _steps(
    engines: Mapping[str, PeerEngine], rounds: int, vocab_size: int, show: Show
) -> list[str]:
    show(f"{'the model, no server':<22}{OURS:>22}{IK:>22}{'ratio':>8}")
    misses = []
    for work in (DECODE, *PREFILLS):
        seconds: dict[str, list[float]] = {name: [] for name in engines}
        for name, answer in _interleaved(engines, work, rounds, vocab_size):
            seconds[name] += answer.steps_s if work is DECODE else [answer.prefill_s]
        ratio = median(seconds[IK]) / median(seconds[OURS])
        columns = "".join(
            f"{median(times) * 1e3:>11.1f} ms, min {min(times) * 1e3:<6.1f}"
            for times in seconds.values()
        )
        show(f"{work.name:<22}{columns}{ratio:>6.2f}x")
        if ratio < 1:
            misses.append(f"{work.name}: {ratio:.2f}x ik-llama, want 1.0x")
    return misses


def _interleaved(
    engines: Mapping[str, PeerEngine], work: Work, rounds: int, vocab_size: int
) -> Iterator[tuple[str, Answer]]:
    """Yield every engine's answers; the first round of each warms up and is left out."""
    for number in range(rounds + 1):
        prompts = work.prompts(vocab_size, number)
        for name, engine in engines.items():
            answer = engine.run(prompts, work.num_tokens)
            if number:
                yield name, answer


def _batches(
    server: PeerServer, peer: PeerEngine, rounds: int, vocab_size: int, show: Show
) -> list[str]:
    show(
        f"\n{'tokens/s, 64 each':<18}{'our server':>12}{'our chat':>10}{IK:>10}{'ratio':>8}"
        f"{'step, ms':>10}"
    )
    misses: list[str] = []
    rates: dict[int, float] = {}
    for work in BATCHES:
        ours: list[float] = []
        chat: list[float] = []
        theirs: list[float] = []
        for number in range(rounds + 1):
            prompts = work.prompts(vocab_size, number)
            with _left_out(number == 0, ours, chat, theirs):
                ours.append(server.generate(prompts, work.num_tokens))
                theirs.append(peer.run(prompts, work.num_tokens).tokens_per_s)
                chat.append(server.chat(work.num_prompts, work.num_tokens, number))
        rates[work.num_prompts] = median(ours)
        ratio = median(ours) / median(theirs)
        step_s = server.steps(work.num_prompts).step
        show(
            f"{work.name:<18}{median(ours):>12.0f}{median(chat):>10.0f}{median(theirs):>10.0f}"
            f"{ratio:>7.2f}x{step_s * 1e3:>10.1f}"
        )
        if work.num_prompts == 8 and ratio < 1:
            misses.append(f"{work.name}: {ratio:.2f}x ik-llama's tokens/s, want 1.0x")
    scaling = rates[8] / rates[1]
    show(f"8 requests at once give {scaling:.1f} times the tokens/s of one")
    if scaling < MIN_SCALING:
        misses.append(f"8 requests: {scaling:.1f} times one's tokens/s, want {MIN_SCALING}")
    return misses


@contextmanager
def _left_out(is_warm_up: bool, *results: list[float]) -> Iterator[None]:
    yield
    if is_warm_up:
        for result in results:
            result.clear()


def _profile(server: PeerServer, show: Show) -> list[str]:
    """Show where the server's decode steps go; the overhead is what is not the model's forward."""
    misses = []
    names = StepProfile.PARTS
    header = "".join(f"{name:>10}" for name in names)
    show(f"\n{'median step, ms':<18}{header}{'overhead':>10}")
    for num in (1, 8, 32):
        profile = server.steps(num)
        parts = "".join(f"{profile.parts[name] * 1e3:>10.2f}" for name in names)
        show(f"{f'{num} at once':<18}{parts}{profile.overhead * 1e3:>10.2f}")
        if profile.overhead > MAX_OVERHEAD_S:
            misses.append(
                f"server's overhead, {num} at once: {profile.overhead * 1e3:.1f} ms a step, "
                f"want {MAX_OVERHEAD_S * 1e3:.0f}"
            )
    return misses
