"""How long a request takes on a device, with an interval."""
