"""SGLang's HTTP app for `--tokenizer-worker-num` over 1, with plugins.

Such a server runs its app in worker processes that import it by name and load no plugin, so they
would come up ready and then fail every chat request. They are given this module's name instead
(`SGLANG_HTTP_SERVER_APP_PATH`); plugins have to be there before the app is imported.
"""

from sglang.srt.plugins import load_plugins

load_plugins()

from sglang.srt.entrypoints.http_server import app  # noqa: E402

from . import http_app  # noqa: E402

http_app.install(app)

__all__ = ["app"]
