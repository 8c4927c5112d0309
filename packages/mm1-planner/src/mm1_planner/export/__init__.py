"""Manifests for Kubernetes, KEDA and Prometheus."""
