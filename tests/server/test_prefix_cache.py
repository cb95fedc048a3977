"""What was computed once is reused to the last token."""


def test_a_second_identical_request_reports_all_but_the_last_token_as_cached(client):
    prompt = list(range(100, 180))
    client.generate(prompt, 1)
    assert client.generate(prompt, 1)["meta_info"]["cached_tokens"] == len(prompt) - 1


def test_a_second_identical_chat_request_reports_all_but_the_last_token_as_cached(client):
    body = {
        "model": "kimi",
        "messages": [{"role": "user", "content": "Say the same thing twice."}],
        "max_tokens": 8,
        "max_thinking_tokens": 2,
    }
    client.post("/v1/chat/completions", body)
    usage = client.post("/v1/chat/completions", body)["usage"]
    assert usage["prompt_tokens_details"]["cached_tokens"] == usage["prompt_tokens"] - 1
    assert usage["cached_tokens"] == usage["prompt_tokens"] - 1
