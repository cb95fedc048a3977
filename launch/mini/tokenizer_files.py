"""The tokenizer's files: rank table, control tokens and chat template of a mini checkpoint.

The control tokens are the release's, in the same order after the ranks (FORMAT section 2.2).
`auto_map` is left out of tokenizer_config.json: it names a Python file of the release.
"""

import base64
from importlib.resources import files
from typing import Any, Final

NUM_CONTROL_TOKENS: Final = 256

# Offset from the first control token, text, and whether skip_special_tokens drops it.
CONTROL_TOKENS: Final = (
    (0, "[BOS]", True),
    (1, "[EOS]", True),
    (2, "<|im_end|>", True),
    (3, "<|im_user|>", True),
    (4, "<|im_assistant|>", True),
    (6, "<|start_header_id|>", True),
    (7, "<|end_header_id|>", True),
    (9, "[EOT]", True),
    (10, "<|im_system|>", True),
    (11, "<|tool_calls_section_begin|>", False),
    (12, "<|tool_calls_section_end|>", False),
    (13, "<|tool_call_begin|>", False),
    (14, "<|tool_call_argument_begin|>", False),
    (15, "<|tool_call_end|>", False),
    (17, "<|im_middle|>", True),
    (18, "<|media_begin|>", True),
    (19, "<|media_content|>", True),
    (20, "<|media_end|>", True),
    (21, "<|media_pad|>", True),
    (22, "<think>", False),
    (23, "</think>", False),
    (254, "[UNK]", True),
    (255, "[PAD]", True),
)
NAMED_TOKENS: Final = {
    "bos_token": "[BOS]",
    "eos_token": "[EOS]",
    "pad_token": "[PAD]",
    "unk_token": "[UNK]",
}


def control_token_id(text: str, num_ranks: int) -> int:
    """Return a control token's id in a vocabulary of so many ranks; KeyError if there is none."""
    return num_ranks + {name: offset for offset, name, _ in CONTROL_TOKENS}[text]


def tokenizer_config(num_ranks: int) -> dict[str, Any]:
    """Return tokenizer_config.json for a vocabulary of so many ranks."""
    decoder = {
        str(num_ranks + offset): {
            "content": text,
            "lstrip": False,
            "normalized": False,
            "rstrip": False,
            "single_word": False,
            "special": is_special,
        }
        for offset, text, is_special in CONTROL_TOKENS
    }
    named = set(NAMED_TOKENS.values())
    return {
        "added_tokens_decoder": decoder,
        "additional_special_tokens": [
            text for _, text, is_special in CONTROL_TOKENS if is_special and text not in named
        ],
        **NAMED_TOKENS,
        "clean_up_tokenization_spaces": False,
        "extra_special_tokens": {},
        "model_max_length": 1000000000000000019884624838656,  # transformers' word for no limit
        "tokenizer_class": "TikTokenTokenizer",
    }


def shipped_file(name: str) -> bytes:
    """Return a data file of this package: `tiktoken.model` or `chat_template.jinja`."""
    return files(__package__).joinpath(name).read_bytes()


def rank_table(num_ranks: int) -> bytes:
    """Return tiktoken.model with so many ranks: the shipped ones, then such as no text meets.

    The added tokens are numbered texts that the merges of the shipped ranks never build. Raises
    ValueError for fewer ranks than the shipped file has.
    """
    shipped = shipped_file("tiktoken.model")
    first = shipped.count(b"\n")
    if num_ranks < first:
        raise ValueError(f"num_ranks: want at least the {first} of the shipped file, {num_ranks=}")
    added = (f"\0rank {rank}\0".encode() for rank in range(first, num_ranks))
    lines = (
        base64.b64encode(token) + f" {rank}\n".encode() for rank, token in enumerate(added, first)
    )
    return shipped + b"".join(lines)
