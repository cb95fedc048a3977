"""Many scripted loops at once on running servers, with a line that tells how far they are."""

import threading
import time
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Final

from sglang_kimi.codec.vocabulary import Vocabulary
from sglang_kimi.launch.demo.progress import ProgressLine

from .reuse_figures import Usage
from .reuse_rows import Row
from .scripted_agent import ScriptedAgent, open_client

_POLL_S: Final = 0.5


@dataclass(frozen=True)
class Loop:
    """One row's conversation with the server at `url`, so many turns long."""

    url: str
    row: Row
    num_turns: int


def run_loops(vocabulary: Vocabulary, loops: Sequence[Loop]) -> list[list[Usage]]:
    """Run all loops at the same time; returns the usages of each one's turns.

    vocabulary: of the checkpoint that is served. Raises ScriptError; the other loops end with the
    turn that they are at then.
    """
    agents = [ScriptedAgent(open_client(loop.url), vocabulary, loop.row) for loop in loops]
    stop = threading.Event()

    def run(agent: ScriptedAgent, num_turns: int) -> None:
        while len(agent.usages) < num_turns and not stop.is_set():
            agent.take_turn()

    with ThreadPoolExecutor(len(loops)) as pool:
        try:
            futures = [
                pool.submit(run, agent, loop.num_turns)
                for agent, loop in zip(agents, loops, strict=True)
            ]
            _watch(futures, agents, sum(loop.num_turns for loop in loops))
        finally:
            stop.set()
    return [agent.usages for agent in agents]


def _watch(
    futures: Sequence["Future[None]"], agents: Sequence[ScriptedAgent], num_turns: int
) -> None:
    """Return when all have ended; raises the first error."""
    line, started = ProgressLine("loops"), time.monotonic()
    while any(not future.done() for future in futures):
        taken = sum(len(agent.usages) for agent in agents)
        line(time.monotonic() - started, f"{taken:,} of {num_turns:,} turns")
        for future in futures:
            if future.done():
                future.result()
        time.sleep(_POLL_S)
    for future in futures:
        future.result()
    line.done(f"{len(agents)} with {num_turns:,} turns, {time.monotonic() - started:.0f} s\n")
