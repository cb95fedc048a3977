"""`sglang-kimi demo`: a mini checkpoint, a real server and an agent loop with tools that really run."""
