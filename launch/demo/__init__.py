"""`sglang-kimi demo`: a mini checkpoint, a real server, an agent loop whose tools really run."""
