"""Many configurations: by formula at once, by simulation on every core or on Ray."""
