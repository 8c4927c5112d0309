"""Opens model weights one tensor at a time, runs causal language models on text, ships a small trained one."""
