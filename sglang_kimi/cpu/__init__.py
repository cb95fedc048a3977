"""The out-of-tree CPU platform: what SGLang needs where no GPU platform is active."""
