"""Autoscalers simulated: their laws, the queue beneath them, and the schedule that helps them."""
