"""Times SGLang's own streaming detector of this format on the texts of standard input.

`python -P -m sglang_kimi.chat.stock_detector_cost` reads one JSON object a line, for
`sglang-kimi bench parsers`, which must not import SGLang itself.

step:   {"text": an output without reasoning, "tools": as in a chat request, "piece_chars": how many
        characters come at a time, "limit_s": CPU seconds after which it stops}
answer: {"seconds": CPU seconds taken, "num_chars": how far it came}
"""

import json
import sys
import time
from typing import Any

from sglang.srt.entrypoints.openai.protocol import Tool
from sglang.srt.function_call.kimik2_detector import KimiK2Detector

_PIECES_BETWEEN_LOOKS = 1000


def run() -> None:
    """Answer the steps of standard input until it ends."""
    for line in sys.stdin:
        print(json.dumps(_time(json.loads(line))), flush=True)


def _time(step: dict[str, Any]) -> dict[str, Any]:
    text, size = step["text"], step["piece_chars"]
    tools = [Tool(**tool) for tool in step["tools"]]
    detector = KimiK2Detector()
    start, position = time.process_time(), 0
    while position < len(text) and time.process_time() - start < step["limit_s"]:
        for _ in range(_PIECES_BETWEEN_LOOKS):
            detector.parse_streaming_increment(text[position : position + size], tools)
            position += size
            if position >= len(text):
                break
    return {"seconds": time.process_time() - start, "num_chars": min(position, len(text))}


if __name__ == "__main__":
    run()
