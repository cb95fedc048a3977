"""Run a GGUF file with ik-llama-cpp-python, a JSON line in, a JSON line out; see `peer_engine`.

A script of its own: the environment that runs it holds that package and numpy, and nothing of ours.
Arguments: the GGUF file, the number of threads, the number of tokens that the cache holds, and
"fast" or "exact" (a float32 cache).
"""

import json
import sys
import time
from typing import Any

import ik_llama_cpp._ctypes_api as api
import numpy as np

MAX_SEQUENCES = 32
MAX_ROWS = 4096
UBATCH = 512
FLOAT32 = 0  # ggml's number of the type


class Engine:
    """One model with one context; tokens are chosen greedily."""

    def __init__(self, path: str, num_threads: int, num_slots: int, is_exact: bool) -> None:
        api.llama_backend_init()
        params = api.llama_model_default_params()
        params.use_mmap = False  # repacked weights need memory of their own
        params.repack_tensors = not is_exact
        model = api.llama_model_load_from_file(path.encode(), params)
        if not model:
            raise SystemExit(f"{path}: ik-llama cannot load it")
        context = api.llama_context_default_params()
        context.n_ctx, context.n_batch, context.n_ubatch = num_slots, MAX_ROWS, UBATCH
        context.n_seq_max = MAX_SEQUENCES
        context.n_threads = context.n_threads_batch = num_threads
        if is_exact:
            context.type_k = FLOAT32  # the cache of mla_attn 2 has no values of its own
            context.flash_attn, context.mla_attn = True, 2
        self.context = api.llama_init_from_model(model, context)
        if not self.context:
            raise SystemExit("ik-llama cannot make a context")
        self.vocab_size = api.llama_vocab_n_tokens(api.llama_model_get_vocab(model))
        self.batch = api.llama_batch_init(MAX_ROWS, 0, MAX_SEQUENCES)

    def clear(self) -> None:
        """Forget every sequence."""
        api.llama_kv_cache_clear(self.context)

    def feed(self, rows: list[tuple[int, int, int, bool]]) -> list[int]:
        """Run (token, position, sequence, wants a next token) rows; return the next tokens."""
        batch = self.batch
        batch.n_tokens = len(rows)
        for i, (token, position, sequence, wanted) in enumerate(rows):
            batch.token[i], batch.pos[i], batch.logits[i] = token, position, wanted
            batch.n_seq_id[i], batch.seq_id[i][0] = 1, sequence
        status = api.llama_decode(self.context, batch)
        if status:
            raise SystemExit(f"ik-llama: llama_decode gave {status}")
        return [self._best(i) for i, row in enumerate(rows) if row[3]]

    def _best(self, row: int) -> int:
        logits = api.llama_get_logits_ith(self.context, row)
        return int(np.ctypeslib.as_array(logits, (self.vocab_size,)).argmax())


def answer(engine: Engine, prompts: list[list[int]], num_tokens: int) -> dict[str, Any]:
    """Prefill all prompts, then decode them together; seconds of both, and the tokens."""
    engine.clear()
    started = time.perf_counter()
    outputs: list[list[int]] = []
    # One prompt a call: with several, its flash attention ends the process (GGML_ASSERT(S > 0)).
    for sequence, prompt in enumerate(prompts):
        last = len(prompt) - 1
        rows = [(token, i, sequence, i == last) for i, token in enumerate(prompt)]
        outputs.append(engine.feed(rows))
    prefilled = time.perf_counter()
    steps = []
    for step in range(num_tokens - 1):
        began = time.perf_counter()
        rows = [
            (output[-1], len(prompt) + step, sequence, True)
            for sequence, (prompt, output) in enumerate(zip(prompts, outputs, strict=True))
        ]
        for output, token in zip(outputs, engine.feed(rows), strict=True):
            output.append(token)
        steps.append(time.perf_counter() - began)
    return {
        "prefill_s": prefilled - started,
        "total_s": time.perf_counter() - started,
        "steps_s": steps,
        "outputs": outputs,
    }


def main() -> None:
    """Answer lines {"prompts": [[id]], "num_tokens": n} until the input ends."""
    engine = Engine(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4] == "exact")
    for line in sys.stdin:
        question = json.loads(line)
        reply = answer(engine, question["prompts"], question["num_tokens"])
        print(json.dumps(reply), flush=True)


if __name__ == "__main__":
    main()
