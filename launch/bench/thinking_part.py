"""The part `thinking`: the model is asked for what stands in its earlier thinking alone.

The model card shows it so: five numbers are thought of, three are told, and the next question is
for the other two. The model can answer only if the prompt holds the thinking.
"""

from collections.abc import Sequence
from typing import Any, Final

from sglang_kimi.codec.vocabulary import Vocabulary

from . import clients
from .clients import Message
from .prompt_ids import RETURN_IDS, contains, prompt_ids_of
from .scripted_agent import open_client, say
from .workshop import OURS, STOCK, Workshop

_FIRST: Final = {"role": "user", "content": "Choose some numbers at random and tell me three."}
_THINKING: Final = "I choose five of them, 318, 27, 640, 95 and 772, and tell the first three."
_CONTENT: Final = "318, 27 and 640."
_NEXT: Final = {"role": "user", "content": "Which two have you kept to yourself?"}


def run(workshop: Workshop) -> list[str]:
    """Print in whose prompts the thinking stood, ours and stock; ours is to have it always."""
    ours, stock = workshop.servers(OURS, STOCK)
    vocabulary = workshop.served_vocabulary
    found = [cases(open_client(server.url), vocabulary) for server in (ours, stock)]
    print(
        f"{'five numbers thought of, three told; the next prompt holds all five':<72}ours   stock"
    )
    misses = []
    for (name, in_ours), (_, in_stock) in zip(*found, strict=True):
        print(f"{name:<72}{_word(in_ours):<7}{_word(in_stock)}")
        if not in_ours:
            misses.append(f"thinking, {name}: not in the prompt")
    return misses


def cases(client: Any, vocabulary: Vocabulary) -> list[tuple[str, bool]]:
    """Return what was asked of the server at `client`, and whether the next prompt held it all."""
    end = vocabulary.encode("<|im_end|>")
    turn = vocabulary.encode(f"{_THINKING}</think>{_CONTENT}<|im_end|>")
    written = vocabulary.encode(f"<think>{_THINKING}</think>{_CONTENT}<|im_end|>")

    def next_prompt(first: Message, answer: Message) -> list[int]:
        return prompt_ids_of(say(client, [first, answer, _NEXT], end, extra_body=RETURN_IDS))

    cases = []
    for field in ("reasoning_content", "reasoning"):
        sent = {"role": "assistant", "content": _CONTENT, field: _THINKING}
        cases.append((f"the client sends `{field}`", contains(next_prompt(_FIRST, sent), written)))
    first = {**_FIRST, "content": f"{_FIRST['content']} Take your time."}
    answer = say(client, [first], turn, extra_body=RETURN_IDS)
    shown = answer.choices[0].message.model_dump(mode="json", exclude_unset=True)
    prompt = next_prompt(first, clients.drops_reasoning(shown, 0))
    begins = _begins(prompt, [*prompt_ids_of(answer), *turn])
    return [*cases, ("generated here, the client sends no thinking", begins)]


def _begins(ids: Sequence[int], part: Sequence[int]) -> bool:
    return list(ids[: len(part)]) == list(part)


def _word(is_there: bool) -> str:
    return "yes" if is_there else "no"
