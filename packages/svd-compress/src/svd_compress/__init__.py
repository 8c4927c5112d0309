"""Low-rank compression of language models under a perplexity budget, or a proof that none fits.

Importing this package loads numpy and no torch; functions that run a model import it when called.
"""

from svd_compress.compression import compress
from svd_compress.lowrank import LowRank, break_even_rank, low_rank_approx
from svd_compress.reloading import load_compressed
from svd_compress.results import CompressedLayer, Compression
from svd_compress.spectra import Spectrum, spectrum
from svd_compress.triage import LayerVerdict, compressibility
from svd_compress.whitening import whitened_approx

__all__ = [
    "CompressedLayer",
    "Compression",
    "LayerVerdict",
    "LowRank",
    "Spectrum",
    "break_even_rank",
    "compress",
    "compressibility",
    "load_compressed",
    "low_rank_approx",
    "spectrum",
    "whitened_approx",
]
