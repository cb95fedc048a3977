"""Requests of one tenant and of one conversation agree in their origin, and no others do."""

from types import SimpleNamespace

import pytest

from sglang_kimi.chat import protocol
from sglang_kimi.chat.names import ENCODING
from sglang_kimi.chat.origin import origin_of
from sglang_kimi.chat.response_chains import ResponseChains

protocol.widen()

from sglang.srt.entrypoints.anthropic.protocol import AnthropicMessagesRequest  # noqa: E402
from sglang.srt.entrypoints.openai.protocol import (  # noqa: E402
    ChatCompletionRequest,
    ResponsesRequest,
    TokenizeRequest,
)

from sglang_kimi.chat import request_hooks  # noqa: E402

USER = {"role": "user", "content": "hi"}
KEY = {"authorization": "Bearer secret"}


def chat(**fields):
    return ChatCompletionRequest(**{"model": "m", "messages": [USER], **fields})


def responses(**fields):
    return ResponsesRequest(input="hi", **fields)


def tokenize(**fields):
    return TokenizeRequest(messages=[USER], **fields)


def from_messages(**fields):
    """Return the chat request that SGLang and our hook make of a `/v1/messages` request."""
    request = AnthropicMessagesRequest(model="m", max_tokens=1, messages=[USER], **fields)
    chat_handler = SimpleNamespace(chat_encoding_spec=ENCODING)
    handler = SimpleNamespace(openai_serving_chat=chat_handler)
    return request_hooks._carry_messages_fields(chat(), handler, request)


ALL = (chat, responses, tokenize, from_messages)


@pytest.mark.parametrize("make", ALL)
def test_a_request_that_names_nothing_has_the_common_tenant_and_no_hint(make):
    origin = origin_of(make(), {})
    assert (origin.tenant, origin.hint) == ("", None)


@pytest.mark.parametrize("make", ALL)
@pytest.mark.parametrize("field", ["cache_salt", "extra_key"])
def test_what_keeps_prefix_caches_apart_keeps_tenants_apart(make, field):
    tenants = {origin_of(make(**{field: value}), {}).tenant for value in ("a", "b")}
    tenants.add(origin_of(make(), {}).tenant)
    assert len(tenants) == 3


def test_a_salt_is_not_an_extra_key_nor_an_api_key():
    origins = [
        origin_of(chat(cache_salt="a"), {}),
        origin_of(chat(extra_key="a"), {}),
        origin_of(chat(), {"authorization": "a"}),
        origin_of(chat(cache_salt="a", extra_key="a"), {}),
    ]
    assert len({origin.tenant for origin in origins}) == 4


def test_one_api_key_is_one_tenant_in_either_header_and_with_any_api():
    tenants = {origin_of(make(), KEY).tenant for make in ALL}
    tenants.add(origin_of(chat(), {"x-api-key": "secret"}).tenant)
    assert len(tenants) == 1
    assert origin_of(chat(), {"authorization": "Bearer other"}).tenant not in tenants | {""}


def test_nothing_of_a_key_or_a_user_stays_readable():
    request = chat(cache_salt="secret", prompt_cache_key="secret")
    assert "secret" not in repr(origin_of(request, KEY))


@pytest.mark.parametrize("make", ALL)
@pytest.mark.parametrize(
    "fields", [{"prompt_cache_key": "x"}, {"metadata": {"user_id": "x"}}], ids=str
)
def test_each_apis_name_of_a_conversation_is_the_hint(make, fields):
    one, other = origin_of(make(**fields), {}), origin_of(make(), {"x-claude-code-session-id": "x"})
    assert one.hint == other.hint is not None
    assert one.tenant == ""


def test_the_most_exact_name_goes_first():
    request = chat(prompt_cache_key="key", metadata={"user_id": "user"})
    headers = {"x-claude-code-session-id": "session"}
    assert origin_of(request, headers).hint == origin_of(chat(prompt_cache_key="key"), {}).hint
    request = chat(metadata={"user_id": "user"})
    assert origin_of(request, headers).hint == origin_of(chat(), headers).hint


@pytest.mark.parametrize("value", [7, {}, ["x"], ""])
def test_a_name_that_is_no_text_is_no_hint(value):
    assert origin_of(chat(prompt_cache_key=value, metadata={"user_id": value}), {}).hint is None
    assert origin_of(SimpleNamespace(metadata="text"), {}).hint is None


def test_a_salt_that_is_no_text_is_refused_by_name_on_messages():
    with pytest.raises(ValueError, match="cache_salt: want a text, got 7"):
        from_messages(cache_salt=7)


def test_responses_that_continue_each_other_have_the_name_of_the_first():
    chains = ResponseChains()
    names = [chains.name(f"resp_{i}", f"resp_{i - 1}" if i else None) for i in range(4)]
    assert set(names) == {"resp_0"}
    assert chains.name("resp_9", None) == "resp_9"
    hints = [origin_of(responses(), {}, response_chain=name).hint for name in names]
    assert len(set(hints)) == 1
    named = responses(prompt_cache_key="key")
    assert origin_of(named, {}, response_chain="resp_0") == origin_of(named, {})


def test_only_so_many_chains_are_remembered():
    chains = ResponseChains(max_responses=2)
    for name in ("a", "b", "c"):
        chains.name(name, None)
    assert chains.name("d", "c") == "c"
    assert chains.name("e", "d") == "c"
    assert chains.name("f", "a") == "a"
