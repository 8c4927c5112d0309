"""Norms, three QRs, least squares, eigenvalue iterations and conditions."""

from stable_ops.linalg.eigen import (
    EigenCondition,
    EigenResult,
    eigenvalue_condition,
    inverse_iteration,
    power_iteration,
    rayleigh_iteration,
)
from stable_ops.linalg.norms import matrix_norm, vector_norm
from stable_ops.linalg.qr import gram_schmidt, householder_qr, lstsq_qr

__all__ = [
    "EigenCondition",
    "EigenResult",
    "eigenvalue_condition",
    "gram_schmidt",
    "householder_qr",
    "inverse_iteration",
    "lstsq_qr",
    "matrix_norm",
    "power_iteration",
    "rayleigh_iteration",
    "vector_norm",
]
