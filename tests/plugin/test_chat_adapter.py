"""The adapter gives SGLang's handlers prompts and parsed answers, without a server."""

import json
from types import SimpleNamespace

import pytest

from sglang_kimi.chat import protocol, serving
from sglang_kimi.codec.vocabulary import Vocabulary

protocol.widen()

from sglang.srt.entrypoints.openai.protocol import (  # noqa: E402
    ChatCompletionRequest,
    ResponsesRequest,
)
from sglang.srt.managers.io_struct import Function as NativeFunction  # noqa: E402
from sglang.srt.managers.io_struct import Tool as NativeTool  # noqa: E402

from sglang_kimi.chat import adapter as adapter_module  # noqa: E402
from sglang_kimi.chat.adapter import KimiChatAdapter  # noqa: E402

USER = {"role": "user", "content": "hi"}
TOOL = {"type": "function", "function": {"name": "look", "parameters": {"type": "object"}}}
CALL = {
    "id": "functions.look:4",
    "type": "function",
    "function": {"name": "look", "arguments": '{"a":1}'},
}
STOP = {"type": "stop", "matched": None}
ANSWER = (
    "thin",
    "king",
    "</think>",
    "some text",
    "<|tool_calls_section_begin|>",
    "<|tool_call_begin|>",
    "functions.look:0",
    "<|tool_call_argument_begin|>",
    '{"path": ',
    '"é"}',
    "<|tool_call_end|>",
    "<|tool_calls_section_end|>",
    "<|im_end|>",
)


@pytest.fixture(scope="module")
def vocabulary(mini_checkpoint):
    return Vocabulary.load(mini_checkpoint)


@pytest.fixture
def adapter(vocabulary, monkeypatch):
    serving = SimpleNamespace(incremental_streaming_output=False)
    monkeypatch.setattr(adapter_module, "get_serving", lambda: serving)
    hooks = SimpleNamespace(
        tool_call_parsing_active=lambda request: (
            bool(request.tools) and request.tool_choice != "none"
        )
    )
    return KimiChatAdapter(vocabulary, hooks, owns_output=True)


@pytest.fixture(autouse=True)
def our_model_is_served(monkeypatch):
    monkeypatch.setattr(serving, "_is_active", True)


def chat(**fields):
    return ChatCompletionRequest(**{"model": "m", "messages": [USER], **fields})


def encode(adapter, request):
    return adapter.encode_messages(
        messages=[], request=request, tools=None, thinking=True, image_data=[]
    )


def ids(vocabulary, pieces=ANSWER):
    return [token for piece in pieces for token in vocabulary.encode(piece)]


def stream(adapter, request, token_ids, *, step, finish=STOP):
    """Run the chat stream as SGLang does and return the deltas and `has_tool_calls`."""
    parsers, has_calls, deltas = {}, {}, []
    for end in range(step, len(token_ids) + step, step):
        is_last = end >= len(token_ids)
        meta = {"id": "x", "completion_tokens": min(end, len(token_ids))}
        meta["finish_reason"] = finish if is_last else None
        lines = adapter.stream_chat_chunks(
            content={"output_ids": token_ids, "meta_info": meta},
            index=0,
            request=request,
            created=1,
            parser_dict=parsers,
            has_tool_calls=has_calls,
            choice_logprobs=None,
            finish_reason_type=finish["type"] if is_last else None,
            usage=None,
        )
        chunks = [json.loads(line.removeprefix("data: ")) for line in lines]
        deltas += [chunk["choices"][0]["delta"] for chunk in chunks]
    return deltas, has_calls.get(0, False)


def text_of(deltas, key):
    return "".join(delta.get(key) or "" for delta in deltas)


def test_the_prompt_is_the_codecs_and_opens_the_thinking(adapter, vocabulary):
    text = vocabulary.decode(encode(adapter, chat()))
    assert text == (
        "<|im_user|>user<|im_middle|>hi<|im_end|><|im_assistant|>assistant<|im_middle|><think>"
    )


@pytest.mark.parametrize("choice", ["auto", "none", "required"])
def test_the_head_of_the_prompt_does_not_depend_on_the_tool_choice(adapter, choice):
    with_choice = encode(adapter, chat(tools=[TOOL], tool_choice=choice))
    assert with_choice == encode(adapter, chat(tools=[TOOL]))


def test_control_texts_of_a_client_stay_text(adapter, vocabulary):
    request = chat(messages=[{"role": "user", "content": "<|im_end|></think>"}])
    assert encode(adapter, request).count(vocabulary.control_id("<|im_end|>")) == 1


def test_a_message_that_cannot_be_rendered_is_named(adapter):
    call = {"type": "function", "function": {"arguments": "{}"}}
    request = chat(messages=[USER, {"role": "assistant", "tool_calls": [call]}])
    with pytest.raises(ValueError, match=r"messages\[1\]\.tool_calls\[0\]\.function\.name"):
        encode(adapter, request)


@pytest.mark.parametrize("kind", ["image_url", "video_url"])
def test_an_image_or_video_is_refused_while_vision_is_not_served(adapter, kind):
    part = {"type": kind, kind: {"url": "data:,"}}
    request = chat(messages=[{"role": "user", "content": [part]}])
    with pytest.raises(ValueError, match=r"messages\[0\]\.content\[0\]: want text, as images"):
        encode(adapter, request)


def test_a_whole_answer_is_split_into_its_fields(adapter, vocabulary):
    reasoning, content, calls, finish = adapter.parse_chat_response(
        request=chat(tools=[TOOL]), output_ids=ids(vocabulary), finish_reason=STOP
    )
    assert (reasoning, content, finish["type"]) == ("thinking", "some text", "tool_calls")
    assert [(call.id, call.index, call.function.name) for call in calls] == [
        ("functions.look:0", 0, "look")
    ]
    assert calls[0].function.arguments == '{"path": "é"}'


@pytest.mark.parametrize("step", [1, 2, 7, 1000])
def test_a_streamed_answer_has_the_same_fields(adapter, vocabulary, step):
    deltas, has_calls = stream(adapter, chat(tools=[TOOL]), ids(vocabulary), step=step)
    assert text_of(deltas, "reasoning_content") == text_of(deltas, "reasoning") == "thinking"
    assert text_of(deltas, "content") == "some text"
    assert has_calls
    calls = [call for delta in deltas for call in delta.get("tool_calls", ())]
    assert calls[0] == {
        "index": 0,
        "id": "functions.look:0",
        "type": "function",
        "function": {"name": "look", "arguments": ""},
    }
    assert all("id" not in call and "name" not in call["function"] for call in calls[1:])
    assert "".join(call["function"]["arguments"] for call in calls) == '{"path": "é"}'


def test_every_delta_has_both_names_of_the_reasoning(adapter, vocabulary):
    deltas, _ = stream(adapter, chat(tools=[TOOL]), ids(vocabulary), step=3)
    assert all({"reasoning", "reasoning_content"} <= delta.keys() for delta in deltas)


def test_an_answer_cut_by_the_limit_stays_cut(adapter, vocabulary):
    limit = {"type": "length", "length": 9}
    _, _, calls, finish = adapter.parse_chat_response(
        request=chat(tools=[TOOL]), output_ids=ids(vocabulary, ANSWER[:9]), finish_reason=limit
    )
    assert (calls[0].function.arguments.rstrip(), finish["type"]) == ('{"path":', "length")


def test_calls_of_a_request_without_tools_are_dropped(adapter, vocabulary):
    reasoning, content, calls, finish = adapter.parse_chat_response(
        request=chat(), output_ids=ids(vocabulary), finish_reason=STOP
    )
    assert (reasoning, content, calls) == ("thinking", "some text", None)
    assert finish["type"] == "stop"


def test_an_id_that_the_history_has_used_is_not_given_again(adapter, vocabulary):
    history = {"role": "assistant", "tool_calls": [CALL]}
    result = {"role": "tool", "tool_call_id": CALL["id"], "content": "r"}
    request = chat(tools=[TOOL], messages=[USER, history, result])
    encode(adapter, request)
    again = [piece.replace("look:0", "look:4") for piece in ANSWER]
    _, _, calls, _ = adapter.parse_chat_response(
        request=request, output_ids=ids(vocabulary, again), finish_reason=STOP
    )
    assert calls[0].id == "functions.look:5"


def test_an_instant_request_has_no_thinking_in_its_content(adapter, vocabulary):
    request = chat(chat_template_kwargs={"thinking": False})
    assert encode(adapter, request)[-1] == vocabulary.control_id("<think>")
    reasoning, content, _, _ = adapter.parse_chat_response(
        request=request, output_ids=ids(vocabulary, ANSWER[:4]), finish_reason=STOP
    )
    assert (reasoning, content) == ("thinking", "some text")


def test_a_continued_message_is_parsed_as_content_from_the_start(adapter, vocabulary):
    final = {"role": "assistant", "content": "It is"}
    request = chat(messages=[USER, final], continue_final_message=True)
    assert vocabulary.decode(encode(adapter, request)).endswith("</think>It is")
    _, content, _, _ = adapter.parse_chat_response(
        request=request, output_ids=ids(vocabulary, [" so", "<|im_end|>"]), finish_reason=STOP
    )
    assert content == " so"


def test_a_client_that_wants_its_reasoning_unseparated_gets_one_text(adapter, vocabulary):
    request = chat(separate_reasoning=False)
    reasoning, content, _, _ = adapter.parse_chat_response(
        request=request, output_ids=ids(vocabulary, ANSWER[:4]), finish_reason=STOP
    )
    assert (reasoning, content) == (None, "thinking</think>some text")


def test_reasoning_comes_in_one_piece_if_it_is_not_to_be_streamed(adapter, vocabulary):
    request = chat(stream_reasoning=False)
    deltas, _ = stream(adapter, request, ids(vocabulary, ANSWER[:4]), step=1)
    pieces = [delta["reasoning"] for delta in deltas if delta["reasoning"]]
    assert pieces == ["thinking"]


def responses(**fields):
    tool = {"type": "function", **TOOL["function"]}
    return ResponsesRequest(input="hi", tools=[tool], **fields)


def test_a_whole_responses_answer_is_split_into_its_fields(adapter, vocabulary):
    reasoning, content, calls = adapter.parse_responses_output(
        request=responses(),
        require_reasoning=True,
        output_ids=ids(vocabulary),
        finish_reason=STOP,
        separate_reasoning=True,
        parse_tool_calls=True,
    )
    assert (reasoning, content) == ("thinking", "some text")
    assert [(c.tool_index, c.name, c.parameters) for c in calls] == [(0, "look", '{"path": "é"}')]


@pytest.mark.parametrize("step", [1, 5])
def test_a_streamed_responses_answer_has_the_same_fields(adapter, vocabulary, step):
    state = adapter.new_responses_stream(
        request=responses(), require_reasoning=True, separate_reasoning=True, parse_tool_calls=True
    )
    token_ids = ids(vocabulary)
    steps = []
    for end in range(step, len(token_ids) + step, step):
        chunk = {"output_ids": token_ids, "meta_info": {"completion_tokens": end}}
        steps.append(state.step(chunk, STOP if end >= len(token_ids) else None))
    assert "".join(reasoning for reasoning, _, _ in steps) == "thinking"
    assert "".join(content for _, content, _ in steps) == "some text"
    calls = [call for _, _, calls in steps for call in calls]
    assert [call.name for call in calls if call.name] == ["look"]
    assert "".join(call.parameters for call in calls) == '{"path": "é"}'


@pytest.mark.parametrize(
    "tool", [chat(tools=[TOOL]).tools[0], NativeTool(function=NativeFunction(name="look"))]
)
def test_texts_are_parsed_for_the_native_endpoints(adapter, tool):
    text = "".join(ANSWER)
    reasoning, rest = adapter.separate_reasoning_text(text)
    assert (reasoning, rest) == ("thinking", "".join(ANSWER[3:]))
    content, calls = adapter.parse_function_call_text(rest, [tool])
    assert content == "some text"
    assert [(c.tool_index, c.name, c.parameters) for c in calls] == [(0, "look", '{"path": "é"}')]
