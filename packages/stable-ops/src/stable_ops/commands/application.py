"""The application that the commands are put into."""

from __future__ import annotations

from mfi_command.cli import create_app

app = create_app(
    "stable-ops",
    distribution="mfi-stable-ops",
    summary="Number formats, sums, factorisations and kernels, and how far each is from the truth.",
)
FORMAT_HELP = "A name (see `stable-ops formats`), bits such as e6m9 or e4m3fn, or a TOML file."
