"""What is refused is named by its place in the client's request."""

from types import SimpleNamespace

import pytest

from sglang_kimi.chat import messages_requests, refusals


def message(content):
    return SimpleNamespace(role="user", content=content)


def block(kind, **fields):
    return SimpleNamespace(type=kind, **fields)


@pytest.mark.parametrize(("num_tokens", "is_refused"), [(97, False), (98, True), (500, True)])
def test_a_prompt_must_leave_room_for_one_token(num_tokens, is_refused):
    wrong = refusals.too_long(num_tokens, num_reserved=1, context_length=99)
    assert (wrong is not None) == is_refused
    if wrong is not None:
        assert wrong.startswith(f"prompt is too long: {num_tokens} tokens > 97 maximum")
        assert "99" in wrong


@pytest.mark.parametrize("kind", ["image_url", "video_url", "input_audio", "file"])
def test_a_part_that_is_no_text_is_named(kind):
    text = {"type": "text", "text": "a"}
    wrong = refusals.media_in_messages(
        [message("a"), message(None), message([text, {"type": kind}])]
    )
    assert wrong.startswith("messages[2].content[1]: want text, as images")
    assert wrong.endswith(kind)


def test_parts_of_unknown_types_are_no_media():
    assert refusals.media_in_messages([message([{"type": "x"}, "a", 5]), message(5)]) is None


def test_media_in_a_tool_result_of_anthropics_form_are_named():
    result = block("tool_result", content=[block("text"), block("image")])
    refusals.check_blocks(
        [message("a"), message([block("text"), block("tool_result", content="r")])]
    )
    with pytest.raises(ValueError, match=r"messages\[0\]\.content\[1\]\.content\[1\]: want text"):
        refusals.check_blocks([message([block("text"), result])])


def test_a_call_without_a_name_is_named():
    with pytest.raises(ValueError, match=r"messages\[0\]\.content\[0\]\.name: want the name"):
        refusals.check_blocks([message([block("tool_use", name="")])])


@pytest.mark.parametrize(
    ("item", "text"),
    [
        ({"type": "zzz"}, r"input\[1\]\.type: want one of message, .* got 'zzz'"),
        (
            {"type": "function_call", "call_id": "c"},
            r"input\[1\]\.name: want the name of a function",
        ),
        ({"content": "a"}, r"input\[1\]\.role: want a role such as user, got nothing"),
        ({"role": "user", "content": 5}, r"input\[1\]\.content: want a text, .*got int 5"),
        ({"role": "user", "content": [{"type": "input_image"}]}, r"input\[1\]\.content\[0\]: want"),
    ],
)
def test_an_item_of_responses_is_named(item, text):
    refusals.check_items("hi")
    with pytest.raises(ValueError, match=text):
        refusals.check_items([{"role": "user", "content": "a"}, item])


def test_the_schemas_of_both_forms_of_tools_are_found():
    chat = SimpleNamespace(function=SimpleNamespace(parameters={"a": 1}))
    flat = SimpleNamespace(type="function", parameters={"b": 2})
    other = SimpleNamespace(type="web_search", parameters=None)
    assert list(refusals.schemas_of([chat, flat, other])) == [
        ("tools[0].function.parameters", {"a": 1}),
        ("tools[1].parameters", {"b": 2}),
    ]


BILLING = "x-anthropic-billing-header: cc_version=2; cch=1;"


@pytest.mark.parametrize(
    ("system", "left"),
    [
        (BILLING, ""),
        (f"{BILLING}\nBe.", "Be."),
        ("Be.", "Be."),
        (f"Be. {BILLING}", f"Be. {BILLING}"),
    ],
)
def test_a_billing_line_at_the_beginning_of_a_system_prompt_is_taken_out(system, left):
    for given in (system, [block("text", text=system), block("text", text="Also.")]):
        request = SimpleNamespace(system=given, messages=[], thinking=None)
        messages_requests.tidy(request)
        texts = request.system if isinstance(given, str) else request.system[0].text
        assert texts == left


def test_a_request_without_system_prompt_stays_without():
    messages = [message([block("redacted_thinking")])]
    request = SimpleNamespace(system=None, messages=messages, thinking=None)
    messages_requests.tidy(request)
    assert (request.system, request.messages[0].content) == (None, [])
