"""What limits a model on this hardware: measured ceilings and exact operation counts."""
