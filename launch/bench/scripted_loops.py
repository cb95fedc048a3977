"""Many scripted loops at once on running servers, with a line that tells how far they are."""

import threading
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Final

from sglang_kimi.codec.vocabulary import Vocabulary
from sglang_kimi.launch.demo.progress import ProgressLine

from .reuse_figures import Usage
from .reuse_rows import Row
from .scripted_agent import ScriptedAgent, open_client

_POLL_S: Final = 0.5

Usages = dict[str, list[list[Usage]]]
"""By server: of each row, in order, the turns' usages."""


def run_loops(
    urls: Mapping[str, str], vocabulary: Vocabulary, rows: Sequence[Row], num_turns: int
) -> Usages:
    """Run every row's loop on every server, all at the same time.

    urls: of the servers, by name. vocabulary: of the checkpoint that they serve. Raises ScriptError
    and the SDK's errors; the other loops end with their current turn then.
    """
    agents = {
        name: [ScriptedAgent(open_client(url), vocabulary, row) for row in rows]
        for name, url in urls.items()
    }
    together = [agent for of_server in agents.values() for agent in of_server]
    stop = threading.Event()

    def run(agent: ScriptedAgent) -> None:
        while len(agent.usages) < num_turns and not stop.is_set():
            agent.take_turn()

    with ThreadPoolExecutor(len(together)) as pool:
        try:
            _watch([pool.submit(run, agent) for agent in together], together, num_turns)
        finally:
            stop.set()
    return {name: [agent.usages for agent in of_server] for name, of_server in agents.items()}


def _watch(
    futures: Sequence["Future[None]"], agents: Sequence[ScriptedAgent], num_turns: int
) -> None:
    """Return when all have ended; raises the first error."""
    line, started = ProgressLine("loops"), time.monotonic()
    while any(not future.done() for future in futures):
        taken = sum(len(agent.usages) for agent in agents)
        line(time.monotonic() - started, f"{taken:,} of {len(agents) * num_turns:,} turns")
        for future in futures:
            if future.done():
                future.result()
        time.sleep(_POLL_S)
    for future in futures:
        future.result()
    line.done(f"{len(agents)} of {num_turns} turns, {time.monotonic() - started:.0f} s\n")
