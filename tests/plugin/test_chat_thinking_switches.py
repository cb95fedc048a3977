"""This model neither stops thinking nor forgets it: what asks for that is warned or refused."""

from types import SimpleNamespace

import pytest

from sglang_kimi.chat.thinking_switches import (
    ALWAYS_THINKS,
    KEEPS_THINKING,
    check_history_kept,
    warning_of,
)


def request(**fields):
    declared = {key: fields.pop(key, None) for key in ("chat_template_kwargs", "reasoning_effort")}
    return SimpleNamespace(**declared, model_extra=fields)


def edits(keep):
    return {"edits": [{"type": "clear_thinking_20251015", "keep": keep}]}


@pytest.mark.parametrize(
    ("fields", "warning"),
    [
        ({}, None),
        ({"thinking": {"type": "enabled", "keep": "all"}}, None),
        ({"thinking": {"type": "adaptive"}, "context_management": edits("all")}, None),
        ({"thinking": {"type": "disabled"}}, ALWAYS_THINKS),
        ({"thinking": False}, ALWAYS_THINKS),
        ({"reasoning": {"enabled": False}}, ALWAYS_THINKS),
        ({"chat_template_kwargs": {"thinking": False}}, ALWAYS_THINKS),
        ({"context_management": edits({"type": "thinking_turns", "value": 1})}, KEEPS_THINKING),
        ({"context_management": {"edits": [{"type": "clear_tool_uses_20250919"}]}}, None),
    ],
)
def test_a_client_is_warned_of_what_is_not_done_as_asked(fields, warning):
    assert warning_of(request(**fields)) == warning


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({"preserve_thinking": False}, "preserve_thinking: want true or nothing"),
        ({"clear_thinking": True}, "clear_thinking: want false or nothing"),
        (
            {"chat_template_kwargs": {"preserve_thinking": False}},
            "chat_template_kwargs.preserve_thinking: want true",
        ),
        ({"thinking": {"type": "enabled", "keep": "none"}}, "thinking.keep: want 'all' or nothing"),
    ],
)
def test_a_request_to_drop_earlier_thinking_is_refused_with_the_reason(fields, text):
    with pytest.raises(ValueError, match="hold the thinking of all earlier turns") as caught:
        check_history_kept(request(**fields))
    assert str(caught.value).startswith(text)


@pytest.mark.parametrize(
    "fields",
    [
        {"preserve_thinking": True, "clear_thinking": False},
        {"thinking": {"keep": None}},
        {"chat_template_kwargs": {"preserve_thinking": True}},
    ],
)
def test_a_request_to_keep_it_is_taken(fields):
    check_history_kept(request(**fields))
