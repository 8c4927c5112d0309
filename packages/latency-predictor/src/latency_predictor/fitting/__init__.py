"""Coefficients of a device and of a stack from measurements."""
