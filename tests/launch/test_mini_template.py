"""chat_template.jinja prints what the format asks for, tools in the JSON form."""

import json
from pathlib import Path
from typing import Any

import pytest
from jinja2.sandbox import ImmutableSandboxedEnvironment

from sglang_kimi.launch.mini.tokenizer_files import shipped_file

USER_TURN = "<|im_user|>user<|im_middle|>hi<|im_end|>"
GENERATION_PROMPT = "<|im_assistant|>assistant<|im_middle|><think>"
HI = [{"role": "user", "content": "hi"}]


def tojson(
    value: object,
    ensure_ascii: bool = False,
    indent: int | None = None,
    separators: tuple[str, str] | None = None,
    sort_keys: bool = False,
) -> str:
    """Print as the filter that transformers and SGLang give to chat templates."""
    return json.dumps(
        value,
        ensure_ascii=ensure_ascii,
        indent=indent,
        separators=separators,
        sort_keys=sort_keys,
    )


def render(messages: list[Any], tools: list[Any] | None = None, trim: bool = True) -> str:
    environment = ImmutableSandboxedEnvironment(trim_blocks=trim, lstrip_blocks=trim)
    environment.filters["tojson"] = tojson
    template = environment.from_string(shipped_file("chat_template.jinja").decode())
    return template.render(messages=messages, tools=tools, add_generation_prompt=True)


def goldens(shared: Path) -> list[dict[str, Any]]:
    lines = (shared / "kimi/golden_prompts.jsonl").read_text().splitlines()
    return [json.loads(line) for line in lines]


@pytest.mark.parametrize("trim", [True, False], ids=["blocks trimmed", "blocks kept"])
def test_golden_prompts_without_typescript_are_rendered_to_the_letter(
    shared: Path, trim: bool
) -> None:
    cases = [case for case in goldens(shared) if "namespace functions" not in case["prompt_text"]]
    assert len(cases) > 20
    for case in cases:
        rendered = render(case["messages"], case["tools"], trim)
        assert rendered == case["prompt_text"], case["name"]


def test_golden_prompts_with_typescript_differ_in_the_declaration_only(shared: Path) -> None:
    for case in goldens(shared):
        if "namespace functions" in case["prompt_text"]:
            rendered = render(case["messages"], case["tools"])
            end = "<|im_end|>"
            assert rendered.partition(end)[2] == case["prompt_text"].partition(end)[2], case["name"]


def test_absent_fields_that_an_engine_fills_with_null_are_not_declared() -> None:
    parameters = {"type": "object", "properties": {"b": {"default": None}, "a": {"enum": [None]}}}
    function = {"name": "f", "description": None, "strict": None, "parameters": parameters}
    tool = {"type": "function", "function": function, "defer_loading": None}
    declared = (
        '[{"function":{"name":"f","parameters":{"properties":{"a":{"enum":[null]},'
        '"b":{"default":null}},"type":"object"}},"type":"function"}]'
    )
    expected = f"<|im_system|>tool_declare<|im_middle|>{declared}<|im_end|>{USER_TURN}"
    assert render(HI, [tool]) == expected + GENERATION_PROMPT


def test_reasoning_wins_over_reasoning_content_even_when_empty_but_not_when_null() -> None:
    def turn(**fields: Any) -> str:
        text = render([{"role": "assistant", "content": "c", **fields}])
        return text.removeprefix("<|im_assistant|>assistant<|im_middle|>").partition("c<")[0]

    assert turn(reasoning="", reasoning_content="old") == "<think></think>"
    assert turn(reasoning=None, reasoning_content="old") == "<think>old</think>"
    assert turn() == "<think></think>"


def test_without_a_generation_prompt_the_text_ends_with_the_last_turn() -> None:
    environment = ImmutableSandboxedEnvironment()
    template = environment.from_string(shipped_file("chat_template.jinja").decode())
    assert template.render(messages=HI) == USER_TURN
