"""`bench peers` from start to end: both engines in turn, then the server beside ik-llama."""

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from statistics import median

from sglang_kimi.launch.environment import default_cache

from .gguf_kimi import convert_to_gguf
from .peer_engine import IK_LLAMA, Answer, PeerEngine, ik_llama, our_engine
from .peer_server import PeerServer
from .peer_work import DECODES, GREEDY, NUM_GREEDY, PREFILLS, WARM_UPS, Work
from .peers_rows import IK, OURS, Row, Show, header
from .peers_server_rows import show_profile, show_requests

NUM_SLOTS = 16384
NOT_MEASURED = (
    "GPUs; several ranks; layers of a real size (`bench layer`); prompts beyond 4,096 tokens;\n"
    "sampling, grammars and tool calls; several prompts in one prefill of ik-llama, which aborts"
)


def show_peers(args: argparse.Namespace, show: Show) -> list[str]:
    """Measure and show everything; returns a line for each missed target."""
    started = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="sglang-kimi-peers-") as name, ExitStack() as stack:
        folder = Path(name)
        checkpoint, vocab_size = _checkpoint(args, folder)
        fast, exact = folder / "fast.gguf", folder / "exact.gguf"
        _progress(started, "turning the checkpoint into GGUF")
        convert_to_gguf(checkpoint, fast)
        convert_to_gguf(checkpoint, exact, is_exact=True)
        _progress(started, "loading both engines, comparing greedy tokens")
        with our_engine(checkpoint, args.threads, NUM_SLOTS) as ours:
            with ik_llama(exact, args.threads, NUM_SLOTS, is_exact=True) as oracle:
                misses = show_greedy(ours, oracle, vocab_size, show)
            exact.unlink()
            peer = stack.enter_context(ik_llama(fast, args.threads, NUM_SLOTS, is_exact=False))
            _progress(started, "the model's own steps, both engines in turn")
            bare_s, missed = show_steps({OURS: ours, IK: peer}, args.rounds, vocab_size, show)
        misses += missed
        if not args.no_server:
            _progress(started, "starting a server, which takes a minute or two")
            log = default_cache() / "bench-peers-server.log"
            server = stack.enter_context(PeerServer(checkpoint, args.threads, folder, log))
            _progress(started, "requests to the server, ik-llama in turn")
            misses += show_requests(server, peer, args.rounds, vocab_size, show)
            misses += show_profile(server, bare_s, show)
    server_too = "" if not args.no_server else "the server (--no-server); "
    show(f"\nnot measured: {server_too}{NOT_MEASURED}\n{time.monotonic() - started:.0f} s")
    return misses


def show_greedy(ours: PeerEngine, oracle: PeerEngine, vocab_size: int, show: Show) -> list[str]:
    """Show how many greedy tokens agree; returns a line if not all do."""
    prompts = GREEDY.prompts(vocab_size, 0)
    found = ours.run(prompts, NUM_GREEDY).outputs[0]
    expected = oracle.run(prompts, NUM_GREEDY).outputs[0]
    equal = next((i for i in range(NUM_GREEDY) if found[i] != expected[i]), NUM_GREEDY)
    show(f"greedy tokens equal to {IK_LLAMA} in float32: the first {equal} of {NUM_GREEDY}\n")
    return [] if equal == NUM_GREEDY else [f"greedy tokens: {equal} of {NUM_GREEDY} equal"]


def show_steps(
    engines: Mapping[str, PeerEngine], rounds: int, vocab_size: int, show: Show
) -> tuple[dict[int, float], list[str]]:
    """Show decode steps and prefills; returns our seconds a step by batch, and missed targets."""
    for work in WARM_UPS:
        for engine in engines.values():
            engine.run(work.prompts(vocab_size, 0), work.num_tokens)
    show(header())
    bare_s, misses = {}, []
    for work in (*DECODES, *PREFILLS):
        row = _row(engines, work, rounds, vocab_size)
        show(str(row))
        misses += row.misses
        if work in DECODES:
            bare_s[work.num_prompts] = median(row.ours)
    return bare_s, misses


def _row(engines: Mapping[str, PeerEngine], work: Work, rounds: int, vocab_size: int) -> Row:
    row = Row(work.name, is_rate=False, target=1.0 if work.num_prompts == 1 else None)
    for seed in work.rounds(rounds):
        prompts = work.prompts(vocab_size, seed)
        row.ours.append(_seconds(engines[OURS].run(prompts, work.num_tokens)))
        row.theirs.append(_seconds(engines[IK].run(prompts, work.num_tokens)))
    return row


def _seconds(answer: Answer) -> float:
    """Return the time of a step; of the prefill where nothing but that was asked for."""
    return median(answer.steps_s) if answer.steps_s else answer.prefill_s


def _checkpoint(args: argparse.Namespace, folder: Path) -> tuple[Path, int]:
    from sglang_kimi.launch.mini.writer import write_mini_checkpoint

    checkpoint = Path(args.checkpoint) if args.checkpoint else folder / "checkpoint"
    if not args.checkpoint:
        write_mini_checkpoint(checkpoint, geometry="bench")
    config = json.loads((checkpoint / "config.json").read_text())["text_config"]
    return checkpoint, int(config["vocab_size"])


def _progress(started: float, doing: str) -> None:
    print(f"peers: {time.monotonic() - started:.0f} s, {doing}", file=sys.stderr, flush=True)
