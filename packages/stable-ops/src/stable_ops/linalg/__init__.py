"""Norms, three QRs, least squares, eigenvalue iterations, conditions and drift."""

from stable_ops.linalg.drift import Drift, eigenvalue_drift, singular_value_drift
from stable_ops.linalg.eigen import (
    EigenCondition,
    EigenResult,
    eigenvalue_condition,
    inverse_iteration,
    power_iteration,
    rayleigh_iteration,
)
from stable_ops.linalg.norms import matrix_norm, vector_norm
from stable_ops.linalg.operator import OperatorNorm, operator_norm
from stable_ops.linalg.qr import gram_schmidt, householder_qr, lstsq_qr

__all__ = [
    "Drift",
    "EigenCondition",
    "EigenResult",
    "OperatorNorm",
    "eigenvalue_condition",
    "eigenvalue_drift",
    "gram_schmidt",
    "householder_qr",
    "inverse_iteration",
    "lstsq_qr",
    "matrix_norm",
    "operator_norm",
    "power_iteration",
    "rayleigh_iteration",
    "singular_value_drift",
    "vector_norm",
]
