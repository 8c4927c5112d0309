"""Low-rank compression of language models under a perplexity budget, or a proof that none fits."""
