"""The commands of `mm1-planner`, one in each file; importing one registers it."""
