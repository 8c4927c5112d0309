"""Low-rank compression of language models under a perplexity budget, or a proof that none fits."""

from svd_compress.lowrank import LowRank, break_even_rank, low_rank_approx
from svd_compress.whitening import whitened_approx

__all__ = ["LowRank", "break_even_rank", "low_rank_approx", "whitened_approx"]
