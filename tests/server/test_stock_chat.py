"""Without `kimi_chat` the same checkpoint is served with SGLang's own chat handling.

That is the baseline of every comparison: our model definition, stock template and parsers.
"""

import pytest

from .conftest import Client, running_server


@pytest.mark.slow
def test_the_checkpoint_answers_with_stock_chat_handling(mini_checkpoint, tmp_path):
    env = {"SGLANG_PLUGINS": "kimi_cpu,kimi_model"}
    body = {
        "model": "kimi",
        "messages": [{"role": "user", "content": "Hello."}],
        "max_tokens": 8,
    }
    with running_server(mini_checkpoint, tmp_path / "server.log", env=env) as server:
        answer = Client(server.url).post("/v1/chat/completions", body)
    assert answer["usage"]["completion_tokens"] > 0
    assert "reasoning" not in answer["choices"][0]["message"]  # ours would send it
