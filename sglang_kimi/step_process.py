"""Run the model's own steps, without a server around them, a JSON line in, a JSON line out.

`python -P -m sglang_kimi.step_process CHECKPOINT [any SGLang flag]` loads the model as a
server's scheduler does and answers {"prompts": [[id]], "num_tokens": n} with the greedy tokens and
the seconds of the prefill and of every decode step. For `sglang-kimi bench peers`, which must not
import SGLang itself. One rank.
"""

import json
import sys
import time
from array import array
from typing import Any

import torch
from sglang.srt.plugins import load_plugins

load_plugins()

from sglang.srt.managers.schedule_batch import Req  # noqa: E402
from sglang.srt.runtime_context import SpawnRanks, publish  # noqa: E402
from sglang.srt.sampling.sampling_params import SamplingParams  # noqa: E402
from sglang.srt.server_args import PortArgs, prepare_server_args  # noqa: E402

from .seams import require  # noqa: E402


class Engine:
    """One loaded model; tokens are chosen greedily."""

    def __init__(self, flags: list[str]) -> None:
        server_args = prepare_server_args(flags)
        server_args.resolve_once()
        publish(server_args, role="scheduler", ranks=SpawnRanks(world_rank=0, gpu_id=0))
        require("bench_configuration")()
        ports = PortArgs.init_new(server_args)
        self.runner, _ = require("bench_load_model")(server_args, ports, 0, 0)

    def answer(self, prompts: list[list[int]], num_tokens: int) -> dict[str, Any]:
        """Prefill all prompts, then decode them together; seconds of both, and the tokens."""
        self.runner.clear()
        started = time.perf_counter()
        tokens, _, batch = self.runner.extend([_request(i, ids) for i, ids in enumerate(prompts)])
        prefilled = time.perf_counter()
        chosen, steps = [tokens], []
        for _ in range(num_tokens - 1):
            began = time.perf_counter()
            tokens, _ = self.runner.decode(tokens, batch)
            chosen.append(tokens)
            steps.append(time.perf_counter() - began)
        return {
            "prefill_s": prefilled - started,
            "total_s": time.perf_counter() - started,
            "steps_s": steps,
            "outputs": torch.stack(chosen, dim=1).tolist(),
        }


def _request(number: int, ids: list[int]) -> Any:
    """Return a request that stands for a prompt, its whole length to be prefilled."""
    request = Req(
        rid=number,
        origin_input_text="",
        origin_input_ids=array("q", ids),
        sampling_params=SamplingParams(temperature=0, max_new_tokens=1 << 20),
    )
    request.full_untruncated_fill_ids = request.origin_input_ids
    request.logprob_start_len = -1
    request.extend_end = len(ids)
    return request


def main() -> None:
    """Answer lines until the input ends."""
    engine = Engine(["--model-path", sys.argv[1], *sys.argv[2:]])
    for line in sys.stdin:
        question = json.loads(line)
        print(json.dumps(engine.answer(question["prompts"], question["num_tokens"])), flush=True)


if __name__ == "__main__":
    main()
